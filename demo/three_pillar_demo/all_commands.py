"""The ``demo`` command with all its commands."""

import asyncio
import math
import sys
from typing import Annotated

import typer

from three_pillar_demo import stack_commands
from three_pillar_demo import tour as tour_command
from three_pillar_demo.capacity import command as capacity_command
from three_pillar_demo.capacity.model import Plan
from three_pillar_demo.chaos import plan
from three_pillar_demo.chaos import report as rehearsal_report
from three_pillar_demo.chaos import run as rehearse_command
from three_pillar_demo.console import err, fail, out
from three_pillar_demo.drills import command as drill_commands
from three_pillar_demo.load import buy
from three_pillar_demo.load import traffic as traffic_command
from three_pillar_demo.load.checkout_client import CheckoutError
from three_pillar_demo.query.interface import BackendError, Selection
from three_pillar_demo.share import files, import_command
from three_pillar_demo.stack import state
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.tail import command as tail_command
from three_pillar_demo.trace_view import follow as follow_command
from three_pillar_demo.trace_view.gather import NotFoundError
from three_pillar_demo.verify import report as verify_report
from three_pillar_demo.verify import verify as verify_command
from three_pillars import ConfigurationError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(stack_commands.check_settings)
app.add_typer(stack_commands.commands)
app.add_typer(drill_commands.app, name="drill")


@app.command()
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


@app.command()
def checkout(
    card: Annotated[
        str, typer.Option(help="declined, gateway-timeout, slow, crash, or any other name.")
    ] = "ordinary",
) -> None:
    """Buy once. Prints the outcome, the trace id and the next command."""
    sys.exit(asyncio.run(buy.checkout(card)))


@app.command()
def follow(
    trace_id: Annotated[
        str | None,
        typer.Argument(
            help="A trace id of 32 hex digits, or a traceparent or traceresponse header."
        ),
    ] = None,
    *,
    last_error: Annotated[
        bool,
        typer.Option(
            "--last-error",
            help="Follow the newest failed request of any service in the last hour.",
        ),
    ] = False,
    html: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Write the page of the request to one HTML file, without a server; - is stdout.",
        ),
    ] = "",
    otlp: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Write spans and log records as OTLP JSON, for demo import; - is stdout.",
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that exists already.")
    ] = False,
) -> None:
    """Print one trace of any service as a tree, with the log records in their places.

    With --html or --otlp, write the trace to files instead.
    """
    trace_files = files.TraceFiles(html, otlp, force)
    problem = trace_files.problem()
    if problem:
        fail("follow", problem, 2)
    write = trace_files.write if trace_files else None
    sys.exit(asyncio.run(follow_command.follow(trace_id, last_error=last_error, write=write)))


@app.command()
def tail(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="The service to follow; by default all.")
    ] = "",
    *,
    lines: Annotated[
        int,
        typer.Option(
            "--lines", "-n", min=0, max=1000, help="The number of lines from the last hour first."
        ),
    ] = 10,
    errors: Annotated[
        bool,
        typer.Option("--errors", help="Show only failed requests, and log records of errors."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print requests and log records of all services, or of one, as they arrive.

    Each line has its trace id, for demo follow. Ctrl-C ends.
    """
    selection = Selection(service, failed=errors)
    sys.exit(tail_command.tail(selection, lines, as_json=as_json))


@app.command("import")
def import_(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="OTLP JSON, or what the Collector's file exporter writes; - is stdin.",
        ),
    ],
    *,
    keep_times: Annotated[
        bool,
        typer.Option(
            "--keep-times",
            help="Do not move times that the store would refuse as too old, or in the future.",
        ),
    ] = False,
) -> None:
    """Send the telemetry in a file to the stack that runs, to look at it here.

    What is stored already is left out. Times over two days old are moved, all by the same amount.
    """
    sys.exit(asyncio.run(import_command.import_file(file, keep_times=keep_times)))


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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
