"""The command that shows everything once: ``demo tour``."""

import asyncio
import sys

import typer

from three_pillar_demo import tour as tour_command
from three_pillar_demo.command_app import command_app
from three_pillar_demo.console import err, fail, out
from three_pillar_demo.load.checkout_client import CheckoutError
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.stack import state
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.trace_view.gather import NotFoundError

commands = typer.Typer()
"""The commands of this module, for the whole ``demo`` command."""


@commands.command()
def tour() -> None:
    """Start the stack, buy, verify the purchases in all three pillars, and show one failure."""
    try:
        succeeded = asyncio.run(tour_command.tour(out, err))
    except (
        LaunchError,
        state.RunningError,
        BackendError,
        CheckoutError,
        NotFoundError,
    ) as error:
        fail("tour", error)
    if not succeeded:
        sys.exit(1)


app = command_app(commands)
"""The ``demo`` command with the commands of this module alone."""
