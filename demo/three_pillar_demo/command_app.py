"""Makes a ``demo`` command of some of its commands, with the checks that come before each."""

import sys

import typer

from three_pillar_demo import paths
from three_pillar_demo.console import err, fail
from three_pillar_demo.stack import ports, state

SHOP_COMMANDS = {"tour", "up", "checkout", "traffic", "verify", "drill", "rehearse"}
"""The commands that need the services of the shop, which only a checkout contains."""
NO_SHOP = "`demo view` is running, without the shop: `demo down`, then `demo up --detach`"


def command_app(*commands: typer.Typer, no_args_is_help: bool = False) -> typer.Typer:
    """Return the ``demo`` command with ``commands``; without arguments it may print its help."""
    app = typer.Typer(
        no_args_is_help=no_args_is_help, add_completion=False, pretty_exceptions_enable=False
    )
    app.callback()(check_settings)
    for group in commands:
        app.add_typer(group)
    return app


def check_settings(context: typer.Context) -> None:
    """One checkout, followed through traces, logs and metrics."""
    command = str(context.invoked_subcommand)
    if _is_help_wanted(sys.argv[1:]):
        return
    try:
        ports.validate()
        if command in SHOP_COMMANDS:
            paths.require_checkout(command)
    except (ports.PortError, paths.NoCheckoutError) as error:
        err.print(str(error), style="red", markup=False)
        sys.exit(2)
    if command in SHOP_COMMANDS - {"up"} and state.mode() == state.VIEW_MODE:
        fail(command, NO_SHOP)


def _is_help_wanted(arguments: list[str]) -> bool:
    """Return whether a command only prints its help, which needs neither settings nor a clone."""
    if arguments[:1] == ["run"]:  # What follows its options belongs to the user's program.
        arguments = arguments[:2]
    return "--help" in arguments
