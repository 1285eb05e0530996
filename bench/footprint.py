"""Measure memory, disk and start times of the demo: ``python -m bench.footprint [local] [full]``.

It measures the resident memory of each process under load, what one checkout costs each store, and
how many seconds a stack that has run before needs to start and to verify its first checkout. It
uses the ports of the demo, so stop a running stack first (``make down``). ``--quick`` shortens it.
"""

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx2

from bench import report
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack import ports
from three_pillar_demo.stack.external_binary import LOKI, TEMPO

RATE = 20
"""The load, in checkouts per second."""
STORES = {"local": ("store",), "full": ("tempo", "loki", "prometheus", "otel-collector")}
"""The components that keep telemetry on disk, by mode."""
ITEMS = {
    "store": ("spans", "lines", "points"),
    "tempo": ("spans",),
    "loki": ("lines",),
    "prometheus": ("points",),
}
"""The kinds of items that each component stores, as keys of ``Backends.ingested()``."""
WARM_STARTS = 5
SETTLE_S = 15
"""How long to wait after the last checkout until all its telemetry is stored, in seconds."""
BLOCK_BYTES = 512
"""The size of a block as counted by ``stat``, in bytes (``st_blocks``)."""


@dataclass(frozen=True)
class Snapshot:
    """The resource use of a stack at one moment.

    Attributes:
        memory: Resident memory in MiB, by component.
        items: Number of spans, log records (key ``lines``) and metric points ingested so far.
        sizes: Bytes on disk, by store.
        series: Number of metric series, by store. For Loki, the number of log streams.
    """

    memory: dict[str, int]
    items: dict[str, int]
    sizes: dict[str, int]
    series: dict[str, int]


class Stack:
    """The demo in one mode (``local`` or ``full``), with its state in the folder ``state``."""

    def __init__(self, mode: str, state: Path) -> None:
        self.mode = mode
        self.state = state

    def demo(self, *arguments: str) -> str:
        """Run ``demo`` with ``arguments`` and return its output; exit if the command fails."""
        result = subprocess.run(
            [sys.executable, "-m", "three_pillar_demo", *arguments],
            env={**os.environ, "DEMO_STATE": str(self.state), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise SystemExit(f"demo {' '.join(arguments)}:\n{result.stdout}{result.stderr}")
        return result.stdout

    def up(self) -> float:
        """Start the stack; return the seconds until every component was ready."""
        began = time.monotonic()
        options = ["--full"] if self.mode == "full" else []
        self.demo("up", "--detach", *options)
        seconds = time.monotonic() - began
        # The queries of this process find the backends by these variables.
        run = json.loads((self.state / "run.json").read_text())
        os.environ.update({variable: str(number) for variable, number in run["ports"].items()})
        return seconds

    def snapshot(self) -> Snapshot:
        """Return the current memory, item counts, disk usage and series of the stack."""
        components = json.loads(self.demo("status", "--json"))["components"]
        memory = {item["component"]: int(item["memory_mib"]) for item in components}
        sizes = {store: _disk_usage(self.state / "data" / store) for store in STORES[self.mode]}
        return Snapshot(memory, asyncio.run(self._ingested()), sizes, self._series())

    async def _ingested(self) -> dict[str, int]:
        backends: Backends = LocalBackends(self.state / "data" / "store" / "telemetry.db")
        if self.mode == "full":
            backends = LgtmBackends()
        async with backends:
            return await backends.ingested()

    def _series(self) -> dict[str, int]:
        if self.mode == "full":
            return {"prometheus": _prometheus_series(), "loki": _loki_streams()}
        file = self.state / "data" / "store" / "telemetry.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            count = connection.execute("SELECT count(*) FROM series").fetchone()[0]
            return {"store": int(count)}


def _disk_usage(folder: Path) -> int:
    """Return the disk space of the files below ``folder`` in bytes, counted in whole blocks."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(file.stat().st_blocks * BLOCK_BYTES for file in files)


def _prometheus_series() -> int:
    response = httpx2.get(f"{ports.PROMETHEUS.url}/api/v1/status/tsdb", trust_env=False)
    return int(response.json()["data"]["headStats"]["numSeries"])


def _loki_streams() -> int:
    text = httpx2.get(f"{ports.LOKI.url}/metrics", trust_env=False).text
    streams = re.search(r"^loki_ingester_memory_streams(?:{.*})? (\S+)", text, re.MULTILINE)
    return int(float(streams[1])) if streams else 0


def main() -> None:
    """Measure the modes on the command line; skip ``full`` if Tempo or Loki is not installed."""
    options = report.arguments("bench.footprint", __doc__, STORES)
    modes = options.parts or list(STORES)
    minutes = 1 if options.quick else 10
    starts = 1 if options.quick else WARM_STARTS
    missing = [binary.name for binary in (TEMPO, LOKI) if not binary.path]
    if "full" in modes and missing:
        _log(f"the mode full is skipped: no {' and no '.join(missing)} on PATH")
        modes.remove("full")
    tables = []
    for mode in modes:
        with tempfile.TemporaryDirectory() as folder:
            tables += measure(Stack(mode, Path(folder)), minutes, starts)
    text = (
        f"{minutes} min at {RATE} checkouts/s, with the default mix of cards; each stack starts"
        " with an empty folder."
    )
    section = report.Section("footprint", text, tables)
    report.print_section(section)
    if options.write:
        report.write_section(section)


def measure(stack: Stack, minutes: int, starts: int) -> list[report.Table]:
    """Measure one stack, and return the tables of memory, cost of a checkout and start times.

    First, the stack is restarted ``starts`` times with its stored data, to measure the start
    times. Then it is loaded with ``RATE`` checkouts a second for ``minutes``.
    """
    ready = []
    verified = []
    stack.up()
    try:
        stack.demo("verify", "--checkouts", "1")
        for number in range(starts):
            stack.demo("down")
            began = time.monotonic()
            ready.append(stack.up())
            stack.demo("verify", "--checkouts", "1")
            verified.append(time.monotonic() - began)
            _log(
                f"{stack.mode} warm start {number + 1}/{starts}: ready {ready[-1]:.1f} s,"
                f" verified {verified[-1]:.1f} s"
            )
        before = stack.snapshot()
        _log(f"{stack.mode}: {minutes} min of traffic")
        stack.demo("traffic", "--rate", str(RATE), "--for", f"{minutes}m")
        time.sleep(SETTLE_S)
        after = stack.snapshot()
    finally:
        stack.demo("down")
    checkouts = minutes * 60 * RATE
    return [
        memory_table(stack.mode, before, after, checkouts),
        cost_table(stack.mode, before, after, checkouts),
        report.Table(
            f"{stack.mode}: warm start, seconds",
            ("ready", "first checkout verified"),
            [(f"{median(ready):.1f}", f"{median(verified):.1f}")],
        ),
    ]


def memory_table(mode: str, before: Snapshot, after: Snapshot, checkouts: int) -> report.Table:
    """Return a table of the resident memory of each process, before and after the load."""
    rows = [(name, str(before.memory[name]), str(mib)) for name, mib in after.memory.items()]
    rows.append(("all", str(sum(before.memory.values())), str(sum(after.memory.values()))))
    headings = ("process", "warm start", f"after {checkouts:,} checkouts")
    return report.Table(f"{mode}: resident memory, MiB", headings, rows)


def cost_table(mode: str, before: Snapshot, after: Snapshot, checkouts: int) -> report.Table:
    """Return a table of the items and the bytes on disk that one checkout adds to each store."""
    rows = []
    for store in STORES[mode]:
        items = ", ".join(
            f"{(after.items[item] - before.items[item]) / checkouts:.2f} {item}"
            for item in ITEMS.get(store, ())
        )
        size = (after.sizes[store] - before.sizes[store]) / checkouts
        series = ""
        if store in after.series:
            new = after.series[store] - before.series.get(store, 0)
            series = f"{after.series[store]} (+{new})"
        rows.append((store, items, f"{size:,.0f}", series))
    headings = ("store", "items", "bytes on disk", "series, all (new ones)")
    return report.Table(f"{mode}: one checkout", headings, rows)


def _log(message: str) -> None:
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    main()
