"""The commands that start something: ``demo up``, ``demo view`` and ``demo run``.

They import only what starting needs, so that they start in half the time of the whole command.
"""

import sys
from typing import Annotated

import typer

from three_pillar_demo import paths
from three_pillar_demo.console import err, fail, out
from three_pillar_demo.run_program import command as run_command
from three_pillar_demo.stack import background, launcher, ports, state
from three_pillar_demo.stack.preflight import LaunchError

SHOP_COMMANDS = {"tour", "up", "checkout", "traffic", "verify", "drill", "rehearse"}
"""The commands that need the services of the shop, which only a checkout contains."""
NO_SHOP = "`demo view` is running, without the shop: `demo down`, then `demo up --detach`"

commands = typer.Typer()
"""The commands of this module, for the whole ``demo`` command."""


def check_settings(context: typer.Context) -> None:
    """One checkout, followed through traces, logs and metrics."""
    command = str(context.invoked_subcommand)
    try:
        ports.validate()
        if command in SHOP_COMMANDS:
            paths.require_checkout(command)
    except (ports.PortError, paths.NoCheckoutError) as error:
        err.print(str(error), style="red", markup=False)
        sys.exit(2)
    if command in SHOP_COMMANDS - {"up"} and state.mode() == state.VIEW_MODE:
        fail(command, NO_SHOP)


@commands.command()
def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Run the real Collector, Prometheus, Tempo and Loki.")
    ] = False,
) -> None:
    """Start the whole stack, by default in the mode that needs only Python. Ctrl-C stops it."""
    _start("up", state.FULL_MODE if full else state.LOCAL_MODE, detach=detach)


@commands.command()
def view(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready.")
    ] = False,
) -> None:
    """Start the store and the page without the shop, for the telemetry of your own programs."""
    _start("view", state.VIEW_MODE, detach=detach)


def _start(command: str, mode: str, *, detach: bool) -> None:
    try:
        if detach:
            background.start(out, mode)
        else:
            launcher.Launcher(out, mode).up()
    except (LaunchError, state.RunningError) as error:
        fail(command, error)


@commands.command(context_settings={"allow_interspersed_args": False})
def run(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="A program and its arguments.")
    ],
) -> None:
    """Run a program so that it sends its telemetry here. Starts `demo view` if nothing runs."""
    sys.exit(run_command.run(command, err))


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
"""The ``demo`` command with the commands of this module alone."""
app.callback()(check_settings)
app.add_typer(commands)
