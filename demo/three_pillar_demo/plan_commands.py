"""The command that plans an installation: ``demo capacity``."""

import math
from typing import Annotated

import typer

from three_pillar_demo.capacity import command as capacity_command
from three_pillar_demo.capacity.model import Plan
from three_pillar_demo.command_app import command_app
from three_pillar_demo.console import fail, out

commands = typer.Typer()
"""The commands of this module, for the whole ``demo`` command."""


@commands.command()
def capacity(
    rate: Annotated[float, typer.Option(min=0.1, max=10_000_000, help="Checkouts a second.")] = 100,
    kept: Annotated[
        float,
        typer.Option(
            min=0.1, max=100, help="The percentage of the traces that tail sampling keeps."
        ),
    ] = 100,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long everything is stored.")] = 14,
) -> None:
    """Print what a rate of checkouts needs: processes, cores, memory, partitions, storage."""
    if math.isnan(rate) or math.isnan(kept):
        fail("capacity", "a rate and a percentage are numbers", 2)
    capacity_command.print_plan(Plan(rate, kept / 100, days), out)


app = command_app(commands)
"""The ``demo`` command with the commands of this module alone."""
