"""The commands that buy: ``demo checkout`` and ``demo traffic``."""

import asyncio
import sys
from typing import Annotated

import typer

from three_pillar_demo.command_app import command_app
from three_pillar_demo.load import buy
from three_pillar_demo.load import traffic as traffic_command

commands = typer.Typer()
"""The commands of this module, for the whole ``demo`` command."""


@commands.command()
def checkout(
    card: Annotated[
        str, typer.Option(help="declined, gateway-timeout, slow, crash, or any other name.")
    ] = "ordinary",
) -> None:
    """Buy once. Prints the outcome, the trace id and the next command."""
    sys.exit(asyncio.run(buy.checkout(card)))


@commands.command()
def traffic(
    rate: Annotated[
        float, typer.Option(help="Purchases a second, however long the answers take.")
    ] = 5,
    duration: Annotated[
        str, typer.Option("--for", help="A duration like 500ms, 60s, 2m or 1h.")
    ] = "60s",
    card_mix: Annotated[
        str, typer.Option(help="`default`, or weights like ordinary=9,slow=1.")
    ] = "default",
    seed: Annotated[int, typer.Option(help="The same seed gives the same purchases.")] = 0,
) -> None:
    """Buy at a steady arrival rate."""
    sys.exit(asyncio.run(traffic_command.traffic(rate, duration, card_mix, seed)))


app = command_app(commands)
"""The ``demo`` command with the commands of this module alone."""
