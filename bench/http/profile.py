"""Where the time of a request goes: ``make profile``, or ``python -m bench.http.profile [nothing] [charges] [checkout]``.

py-spy looks 200 times a second at whoever holds the interpreter lock while wrk loads ours, and each look is
booked on one part.
"""

import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from bench import report
from bench.http import load, running
from bench.http.arms import ARMS, ROUTES, ZERO_CODE

WITHIN = (
    (
        "the threads that export",
        ("_export_worker", "/opentelemetry/exporter/", "_ticker", "/_shared_internal/__init__.py"),
    ),
    ("telemetry/: redaction", ("/three_pillars/redaction/",)),
    ("telemetry/: counting what is handed over", ("/three_pillars/export/drops.py",)),
    ("metrics: recording", ("/opentelemetry/sdk/metrics/",)),
    (
        "log line: the record for OTLP",
        ("/opentelemetry/instrumentation/structlog/", "/opentelemetry/sdk/_logs/"),
    ),
    ("log line: processors, JSON, stdout", ("/structlog/", "/three_pillars/logs.py")),
    ("telemetry/: finding the route", ("match_template (",)),
    ("spans: the SDK", ("/opentelemetry/sdk/trace/",)),
)
"""Whatever these call is theirs."""
INNERMOST = (
    (
        "telemetry/: middleware",
        ("/three_pillars/",),
    ),
    ("spans: the instrumentation", ("/opentelemetry/",)),
    ("the client: httpx2", ("/httpx2/", "/httpcore2/", "/h11/", "/anyio/", "/payment_client.py")),
    (
        "the app: Starlette, FastAPI, pydantic",
        ("/starlette/", "/fastapi/", "/pydantic", "/services/", "/bench/"),
    ),
    ("the server: uvicorn", ("/uvicorn/", "/asyncio/")),
)
"""These call one another: a look is booked on the innermost that is one of them."""
OTHER = "everything else"
SECONDS = 30
LOOK = ("record", "--gil", "--rate=200", "--nonblocking", "--full-filenames", "--format=raw")
"""Blocking, py-spy would stop the service for each look."""


def main() -> None:
    """Load ours, look, and print where the time went."""
    said = report.arguments("bench.http.profile", __doc__, ROUTES, quick=False)
    if not (ZERO_CODE / "py-spy").exists():
        raise SystemExit("py-spy is in .venv-bench, which make bench and make profile set up")
    os.sched_setaffinity(0, {int(running.REST)})
    tables = [look(route) for route in said.which or ["nothing"]]
    words = "`ours` under wrk, by who held the interpreter lock, and that share of the CPU that a request takes."
    section = report.Section("profile", words, tables)
    report.draw(section)
    if said.write:
        report.write(section)


def look(route: str) -> report.Table:
    """Look at one route for ``SECONDS``."""
    with tempfile.TemporaryDirectory() as folder, running.receiver() as receiver:
        stacks, endpoint = Path(folder) / "stacks", f"http://127.0.0.1:{receiver.port}"
        with running.shop(ARMS["ours"], route, endpoint, Path(folder)) as service:
            load.wrk(service.port, ROUTES[route], 2)
            command = [
                str(ZERO_CODE / "py-spy"),
                *LOOK,
                f"--duration={SECONDS}",
                f"--output={stacks}",
            ]
            looking = subprocess.Popen(
                [*command, f"--pid={service.process.pid}"], stdout=subprocess.DEVNULL
            )
            before = service.cpu()
            seen = load.wrk(service.port, ROUTES[route], SECONDS)
            micros = (service.cpu() - before) / seen.requests * 1e6
            if looking.wait(60):
                raise SystemExit(
                    "py-spy could not look: it needs root, or kernel.yama.ptrace_scope=0"
                )
        return shown(book(stacks.read_text()), route, micros)


def book(stacks: str) -> Counter[str]:
    """Book each stack of py-spy's raw format, ``outer;...;inner count``, on a part."""
    booked: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        booked[part_of(frames)] += int(count)
    return booked


def part_of(frames: list[str]) -> str:
    """The part that a stack, outer frame first, is booked on."""
    for part, signs in WITHIN:
        if any(sign in frame for frame in frames for sign in signs):
            return part
    known = (
        part
        for frame in reversed(frames)
        for part, signs in INNERMOST
        if any(sign in frame for sign in signs)
    )
    return next(known, OTHER)


def shown(booked: Counter[str], route: str, micros: float) -> report.Table:
    """The parts, the largest first, of the ``micros`` of CPU that a request takes."""
    total = sum(booked.values())
    rows = [
        (part, f"{count / total:.1%}", f"{count / total * micros:,.0f}")
        for part, count in booked.most_common()
    ]
    return report.Table(
        f"{route}, {total:,} looks",
        ("part", "share", "CPU µs a request"),
        [*rows, ("all", "", f"{micros:,.0f}")],
    )


if __name__ == "__main__":
    main()
