"""The commands that check the pillars: ``demo verify`` and ``demo rehearse``."""

import asyncio
import sys
from typing import Annotated

import typer

from three_pillar_demo.chaos import plan
from three_pillar_demo.chaos import report as rehearsal_report
from three_pillar_demo.chaos import run as rehearse_command
from three_pillar_demo.command_app import command_app
from three_pillar_demo.console import err, fail, out
from three_pillar_demo.load.checkout_client import CheckoutError
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.stack import state
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.verify import report as verify_report
from three_pillar_demo.verify import verify as verify_command
from three_pillars import ConfigurationError

commands = typer.Typer()
"""The commands of this module, for the whole ``demo`` command."""


@commands.command()
def verify(
    checkouts: Annotated[int, typer.Option(min=1, max=5000, help="The number of purchases.")] = 60,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Purchases a second.")] = 10,
    max_freshness: Annotated[
        float | None,
        typer.Option(min=0, help="Fail when the p95 of a freshness is over this, in seconds."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send purchases and check that each is complete in traces, logs and metrics."""
    try:
        checks = asyncio.run(
            verify_command.verify(
                checkouts, rate, max_freshness, lambda step: err.print(step, style="dim")
            )
        )
    except ConfigurationError as error:
        fail("verify", error, 2)
    except (BackendError, CheckoutError) as error:
        fail("verify", error)
    verify_report.report(checks, out, as_json=as_json)
    if not verify_report.passed(checks):
        sys.exit(1)


@commands.command()
def rehearse(
    name: Annotated[
        str | None, typer.Argument(help="The rehearsal; without a name they are listed.")
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Run all of them, one after the other.")
    ] = False,
    long: Annotated[
        bool, typer.Option("--long", help="Run the long form: outages of minutes, and more stops.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Break something under a steady load, restore it, and check that nothing is lost."""
    if name is None and not everything:
        rehearsal_report.list_rehearsals(plan.REHEARSALS, out)
        return
    try:
        played = rehearse_command.rehearse(name, err, long=long)
    except (LaunchError, state.RunningError) as error:
        fail("rehearse", error)
    except KeyboardInterrupt:
        err.print("demo rehearse: interrupted; the fault is removed", style="yellow")
        sys.exit(130)
    rehearsal_report.report(played, out, as_json=as_json)
    if not rehearsal_report.passed(played):
        sys.exit(1)


app = command_app(commands)
"""The ``demo`` command with the commands of this module alone."""
