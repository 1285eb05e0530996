"""The commands that start, show and stop components, such as ``demo up`` and ``demo status``."""

import sys
from typing import Annotated

import typer

from three_pillar_demo.command_app import command_app
from three_pillar_demo.console import err, fail, out
from three_pillar_demo.run_program import command as run_command
from three_pillar_demo.stack import background, control, launcher, state
from three_pillar_demo.stack.cluster import choice as cluster_choice
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.terminal import printable

commands = typer.Typer()
"""The commands of this module, for the whole ``demo`` command."""


@commands.command()
def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Run the real Collector, Prometheus, Tempo and Loki.")
    ] = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Run several of each, as on several machines.")
    ] = False,
) -> None:
    """Start the whole stack, by default in the mode that needs only Python. Ctrl-C stops it."""
    if full and cluster:
        fail("up", "--full and --cluster are two modes; choose one")
    mode = state.FULL_MODE if full else state.LOCAL_MODE
    if cluster:
        _check_sampling_rule()
        mode = cluster_choice.choose()
        # With --detach, the launcher in the background says it, and its output is shown.
        if mode == state.CLUSTER_LOCAL_STORE_MODE and not detach:
            err.print(cluster_choice.NO_ENGINES, style="yellow", markup=False)
    _start("up", mode, detach=detach)


@commands.command()
def view(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready.")
    ] = False,
) -> None:
    """Start the store and the page without the shop, for the telemetry of your own programs."""
    _start("view", state.VIEW_MODE, detach=detach)


def _check_sampling_rule() -> None:
    """Fail if the services would refuse a variable ``TAIL_SAMPLING_*``."""
    # Only a cluster needs it, and it takes long to import.
    from three_pillar_demo.sampling_settings import SamplingSettings  # noqa: PLC0415
    from three_pillars import ConfigurationError  # noqa: PLC0415

    try:
        SamplingSettings.load()
    except ConfigurationError as error:
        fail("up", error)


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


@commands.command()
def down() -> None:
    """Stop the stack, whichever terminal started it."""
    try:
        background.stop(out)
    except LaunchError as error:
        fail("down", error)


@commands.command()
def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show the state of each component. The exit code is 0 only when all are ready."""
    if not background.status(out, as_json=as_json):
        sys.exit(1)


@commands.command()
def kill(name: Annotated[str, typer.Argument(help="A component of the running stack.")]) -> None:
    """End one component with SIGKILL. The others keep running."""
    _control("kill", name)


@commands.command()
def stop(name: Annotated[str, typer.Argument(help="A component of the running stack.")]) -> None:
    """Stop one component with SIGTERM. The others keep running."""
    _control("stop", name)


@commands.command()
def start(
    name: Annotated[str, typer.Argument(help="A component that was killed or stopped.")],
) -> None:
    """Start a component that was killed or stopped, and wait until it is ready."""
    _control("start", name)


@commands.command()
def logs(
    name: Annotated[str, typer.Argument(help="A component.")],
    lines: Annotated[int, typer.Option(min=1, help="The number of lines.")] = 50,
) -> None:
    """Print the last lines of a component's log."""
    try:
        background.logs(name, lines)
    except LaunchError as error:
        fail("logs", error)


def _control(verb: str, name: str) -> None:
    try:
        seconds = control.request(verb, name)
    except LaunchError as error:
        fail(verb, error)
    done = "ready" if verb == "start" else f"{control.STATE_AFTER[verb]} on purpose"
    out.print(f"{printable(name)} {done} after {seconds:.1f} s")


app = command_app(commands)
"""The ``demo`` command with the commands of this module alone."""
