"""Show where the CPU time of a request is spent: ``make profile``.

The same is ``python -m bench.http.profile [nothing] [charges] [checkout]``. While wrk loads the arm
``ours``, py-spy samples 200 times a second the stack of the thread that holds the interpreter lock.
Each sample is attributed to one part of the software.
"""

import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from bench import report
from bench.http import load, running
from bench.http.arms import ARMS, ROUTES, ZERO_CODE

Parts = tuple[tuple[str, tuple[str, ...]], ...]
"""Pairs of the name of a part and the substrings by which its stack frames are recognised."""

OUTER_PARTS: Parts = (
    (
        "the threads that export",
        ("_export_worker", "/opentelemetry/exporter/", "_ticker", "/_shared_internal/__init__.py"),
    ),
    ("telemetry/: redaction", ("/three_pillars/redaction/",)),
    ("telemetry/: drop counters", ("/three_pillars/export/drops.py",)),
    ("metrics: recording", ("/opentelemetry/sdk/metrics/",)),
    (
        "log record: the OTLP record",
        ("/opentelemetry/instrumentation/structlog/", "/opentelemetry/sdk/_logs/"),
    ),
    ("log record: processors, JSON, stdout", ("/structlog/", "/three_pillars/logs.py")),
    ("telemetry/: finding the route", ("match_template (",)),
    ("spans: the SDK", ("/opentelemetry/sdk/trace/",)),
)
"""Parts whose share of the time includes everything that they call.

``part_of()`` checks these parts first, in this order. A sample belongs to the first part with a
substring that occurs in any stack frame of the sample.
"""
INNER_PARTS: Parts = (
    ("telemetry/: middleware", ("/three_pillars/",)),
    ("spans: the instrumentation", ("/opentelemetry/",)),
    ("the client: httpx2", ("/httpx2/", "/httpcore2/", "/h11/", "/anyio/", "/payment_client.py")),
    (
        "the app: Starlette, FastAPI, pydantic",
        ("/starlette/", "/fastapi/", "/pydantic", "/services/", "/bench/"),
    ),
    ("the server: uvicorn", ("/uvicorn/", "/asyncio/")),
)
"""Parts that call each other, so the innermost one counts.

``part_of()`` checks these parts for samples that belong to none of ``OUTER_PARTS``. A sample
belongs to the part of the innermost stack frame that matches one of these parts.
"""
OTHER = "everything else"
SAMPLE_S = 30
WARM_UP_S = 2
PY_SPY = ("record", "--gil", "--rate=200", "--nonblocking", "--full-filenames", "--format=raw")
"""The arguments of py-spy; ``--nonblocking`` lets the service run on while a sample is taken."""
PY_SPY_TIMEOUT_S = 60


def main() -> None:
    """Load and sample the chosen routes, and print where the CPU time was spent."""
    options = report.arguments("bench.http.profile", __doc__, ROUTES, quick=False)
    if not (ZERO_CODE / "py-spy").exists():
        raise SystemExit("py-spy is in .venv-bench, which make bench and make profile set up")
    os.sched_setaffinity(0, {int(running.OTHER_CORE)})
    tables = [profile(route) for route in options.parts or ["nothing"]]
    text = (
        "`ours` under wrk: samples of the thread that holds the interpreter lock, and the same"
        " share of the CPU time of one request."
    )
    section = report.Section("profile", text, tables)
    report.print_section(section)
    if options.write:
        report.write_section(section)


def profile(route: str) -> report.Table:
    """Load and sample one route for ``SAMPLE_S`` (30) seconds, and return its table."""
    with tempfile.TemporaryDirectory() as folder_name, running.receiver() as receiver:
        folder = Path(folder_name)
        samples = folder / "samples"
        endpoint = f"http://127.0.0.1:{receiver.port}"
        with running.route_service(ARMS["ours"], route, endpoint, folder) as service:
            load.wrk(service.port, ROUTES[route], WARM_UP_S)
            command = [
                str(ZERO_CODE / "py-spy"),
                *PY_SPY,
                f"--duration={SAMPLE_S}",
                f"--output={samples}",
                f"--pid={service.process.pid}",
            ]
            py_spy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            cpu_before = service.cpu_seconds()
            measured = load.wrk(service.port, ROUTES[route], SAMPLE_S)
            micros = (service.cpu_seconds() - cpu_before) / measured.requests * 1e6
            if py_spy.wait(PY_SPY_TIMEOUT_S):
                raise SystemExit("py-spy failed: it needs root, or kernel.yama.ptrace_scope=0")
        return profile_table(count_samples(samples.read_text()), route, micros)


def count_samples(raw: str) -> Counter[str]:
    """Count samples by part; ``raw`` has py-spy's raw format (``outer;...;inner count``)."""
    counts: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[part_of(stack.split(";"))] += int(count)
    return counts


def part_of(frames: list[str]) -> str:
    """Return the name of the part that a stack belongs to, or ``OTHER`` if no part matches.

    ``frames`` begins with the outermost frame.
    """
    for part, signs in OUTER_PARTS:
        if any(sign in frame for frame in frames for sign in signs):
            return part
    for frame in reversed(frames):
        for part, signs in INNER_PARTS:
            if any(sign in frame for sign in signs):
                return part
    return OTHER


def profile_table(counts: Counter[str], route: str, micros: float) -> report.Table:
    """Return a table of the share and the CPU time of each part, the largest first.

    ``micros`` is the CPU time of one request in microseconds.
    """
    total = sum(counts.values())
    rows = [
        (part, f"{count / total:.1%}", f"{count / total * micros:,.0f}")
        for part, count in counts.most_common()
    ]
    rows.append(("all", "", f"{micros:,.0f}"))
    headings = ("part", "share", "CPU µs a request")
    return report.Table(f"{route}, {total:,} samples", headings, rows)


if __name__ == "__main__":
    main()
