"""The command ``demo import``: sends the telemetry in a file to the stack that runs."""

import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfileobj
from typing import IO, cast

import httpx2
from rich.console import Console
from rich.text import Text

from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import NANO, BackendError
from three_pillar_demo.share.batches import Batcher
from three_pillar_demo.share.import_plan import (
    FileSummary,
    records_in,
    shifts_of_stored,
    summarize,
    time_shift,
)
from three_pillar_demo.share.records import LOGS, METRICS, TRACES, Json, Record, moved
from three_pillar_demo.share.sender import EndpointError, Sender
from three_pillar_demo.share.stored import SHIFT_ATTRIBUTE, StoredRecords
from three_pillar_demo.share.times import age_limits
from three_pillar_demo.stack import ports
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES
from three_pillar_demo.terminal import printable, progress_messages

STDIN = "-"
"""The name of a file that stands for stdin."""
MAX_TRACES_SHOWN = 10
MAX_SPOOLED_BYTES = 16 * 1024**2
"""The size of stdin, in bytes, up to which it is kept in memory and not in a temporary file."""


@dataclass
class Outcome:
    """What happened to the records of a file.

    ``accepted`` and ``already_stored`` count by the name of the signal, ``rejected`` by reason.
    ``stopped`` says why the import ended early; "" if it did not. ``traces`` counts the spans and
    log records by trace id.
    """

    shift_ns: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    already_stored: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    traces: Counter[str] = field(default_factory=Counter)
    stopped: str = ""


def otlp_endpoint() -> str:
    """Return the address of the running stack that receives OTLP over HTTP."""
    receiver, _ = ports.otlp_receivers(connect.running_mode())
    return receiver.url


async def import_file(name: str, *, keep_times: bool = False) -> int:
    """Import the file called ``name``, or stdin if it is ``-``, and report what was stored.

    Returns:
        The exit code: 0 if all records of the file are stored now, 1 if some are not, 2 if the file
        cannot be opened.
    """
    out = Console(highlight=False, soft_wrap=True)
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    with ExitStack() as stack:
        try:
            file = _open(name, stack)
        except OSError as error:
            return _fail(err, 2, f"{name}: {error.strerror or error}")
        with progress_messages(err) as report_step:
            report_step(f"reading {name}")
            summary = summarize(file)
            if not summary.counts.total():
                return _fail(err, 1, f"{name}: no telemetry in it. {_first_problem(summary)}")
            report_step(f"importing {summary.counts.total():,} records")
            try:
                outcome = await _send(file, summary, keep_times=keep_times)
            except BackendError as error:
                return _fail(err, 1, str(error))
    _report(summary, outcome, out, err)
    is_complete = not (outcome.rejected or outcome.stopped or summary.problem_count)
    return 0 if is_complete else 1


def _open(name: str, stack: ExitStack) -> IO[bytes]:
    """Return the file, seekable: what is not, such as a pipe, is copied to a temporary file."""
    source: IO[bytes] = sys.stdin.buffer
    if name != STDIN:
        source = stack.enter_context(Path(name).open("rb"))  # noqa: SIM115  (the stack closes it)
        if source.seekable():
            return source
    spooled = tempfile.SpooledTemporaryFile(MAX_SPOOLED_BYTES)  # noqa: SIM115  (as above)
    copy = stack.enter_context(spooled)
    copyfileobj(source, copy)
    return cast("IO[bytes]", copy)


async def _send(file: IO[bytes], summary: FileSummary, *, keep_times: bool) -> Outcome:
    """Send the records that are not stored yet.

    Raises:
        BackendError: It cannot be queried what is stored.
    """
    async with connect.create_backends() as backends:
        stored = await StoredRecords.query(backends, summary.first_records)
    limits = age_limits(connect.running_mode())
    shifts = shifts_of_stored(summary, stored)
    outcome = Outcome(time_shift(summary, shifts, limits, keep_times=keep_times))
    batcher = Batcher()
    async with httpx2.AsyncClient(trust_env=False, verify=NO_CERTIFICATES) as http:
        sender = Sender(otlp_endpoint(), http)
        try:
            for record in records_in(file):
                if record.trace_id:
                    outcome.traces[record.trace_id] += 1
                if stored.take(record, shifts.get(record.trace_id, outcome.shift_ns)):
                    outcome.already_stored[record.signal.name] += 1
                    continue
                for batch in batcher.add(_shifted(record, outcome.shift_ns)):
                    await sender.send(batch)
            for batch in batcher.rest():
                await sender.send(batch)
        except EndpointError as error:
            outcome.stopped = str(error)
    outcome.accepted = sender.accepted
    outcome.rejected = sender.rejected
    return outcome


def _shifted(record: Record, shift_ns: int) -> Record:
    """Return a record with its times moved, and with the resource attribute that says so."""
    if not shift_ns:
        return record
    mark: Json = {"key": SHIFT_ATTRIBUTE, "value": {"doubleValue": shift_ns / NANO}}
    attributes = record.resource.get("attributes")
    attributes = attributes if isinstance(attributes, list) else []
    resource = {**record.resource, "attributes": [*attributes, mark]}
    return replace(record, resource=resource, value=moved(record.value, shift_ns))


def _report(summary: FileSummary, outcome: Outcome, out: Console, err: Console) -> None:
    if outcome.accepted.total():
        services = ", ".join(sorted(printable(name, 64) for name in summary.services if name))
        origin = f" of {services}" if services else ""
        out.print(f"Imported {_counted(outcome.accepted)}{origin}.", markup=False)
    if outcome.already_stored:
        out.print(f"Stored already, and left out: {_counted(outcome.already_stored)}.")
    if outcome.shift_ns and outcome.accepted.total():
        out.print(
            f"All times were moved by {_duration(outcome.shift_ns)}, because old or future times "
            f"are refused; the resources say so ({SHIFT_ATTRIBUTE}). --keep-times leaves them."
        )
    for reason, count in outcome.rejected.most_common():
        err.print(Text.assemble(("rejected: ", "red"), f"{count:,}, {printable(reason)}"))
    for problem in summary.problems:
        err.print(Text.assemble(("not read: ", "red"), printable(problem)))
    if summary.problem_count > len(summary.problems):
        err.print(f"and {summary.problem_count - len(summary.problems):,} more places not read")
    if outcome.stopped:
        reached = _counted(outcome.accepted) or "nothing"
        text = f"{printable(outcome.stopped)}. Stored so far: {reached}; import the file again"
        err.print(Text.assemble(("stopped: ", "red"), text))
    for trace_id in list(outcome.traces)[:MAX_TRACES_SHOWN]:
        out.print(Text.assemble("demo follow ", (trace_id, "bold")))
    if len(outcome.traces) > MAX_TRACES_SHOWN:
        out.print(
            f"and {len(outcome.traces) - MAX_TRACES_SHOWN:,} more traces: demo tail --lines 50"
        )


def _counted(counts: Counter[str]) -> str:
    """Return the numbers of records as text: ``6 spans and 4 log records``."""
    parts = []
    for signal in (TRACES, LOGS, METRICS):
        count = counts[signal.name]
        if count:
            parts.append(f"{count:,} {signal.noun}{'' if count == 1 else 's'}")
    return " and ".join(parts)


def _duration(nanoseconds: int) -> str:
    """Return a duration as text: ``+3 days 2 h 14 min`` or ``-5 min``."""
    minutes = round(abs(nanoseconds) / NANO / 60)
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{days:,} day{'' if days == 1 else 's'}"] if days else []
    parts += [f"{hours} h"] if hours else []
    parts += [f"{minutes} min"] if minutes or not parts else []
    return f"{'-' if nanoseconds < 0 else '+'}{' '.join(parts)}"


def _first_problem(summary: FileSummary) -> str:
    if summary.problems:
        return f"{summary.problems[0]} ({summary.problem_count:,} in all)"
    return "It must be OTLP JSON, or the lines of the Collector's file exporter"


def _fail(err: Console, exit_code: int, reason: str) -> int:
    err.print(Text.assemble(("demo import: ", "red"), printable(reason, 600)))
    return exit_code
