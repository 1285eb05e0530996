"""The commands that show requests: ``demo follow``, ``demo tail`` and ``demo import``."""

import asyncio
import sys
from typing import Annotated

import typer

from three_pillar_demo.command_app import command_app
from three_pillar_demo.console import fail
from three_pillar_demo.query.interface import Selection
from three_pillar_demo.share import files, import_command
from three_pillar_demo.tail import command as tail_command
from three_pillar_demo.trace_view import follow as follow_command

commands = typer.Typer()
"""The commands of this module, for the whole ``demo`` command."""


@commands.command()
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


@commands.command()
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


@commands.command("import")
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


app = command_app(commands)
"""The ``demo`` command with the commands of this module alone."""
