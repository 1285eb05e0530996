"""What the demo takes while customers buy: ``python -m bench.footprint [--quick] [embedded] [full]``.

Memory of each process, what one checkout costs each store, and how soon a stack that ran before has verified a checkout.
It takes the demo's own ports: `make down` first.
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
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx2

from bench import report
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack.external_binary import LOKI, TEMPO

RATE = 20
STORES = {"local": ("store",), "full": ("tempo", "loki", "prometheus", "otel-collector")}
PILLAR = {"tempo": "spans", "loki": "lines", "prometheus": "points"}
STARTS = 5
SETTLED = 15
"""Seconds after the last customer, before anything is counted: what is under way has arrived."""


@dataclass(frozen=True)
class Taken:
    """What a stack held at one moment."""

    memory: dict[str, int]
    rows: dict[str, int]
    sizes: dict[str, int]
    series: dict[str, int]


class Stack:
    """A stack in a folder of its own."""

    def __init__(self, mode: str, state: Path) -> None:
        self.mode, self.state = mode, state

    def demo(self, *arguments: str) -> str:
        """Run the demo command."""
        environment = {**os.environ, "DEMO_STATE": str(self.state), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", "three_pillar_demo", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"demo {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def up(self) -> float:
        """Start it; returns the seconds until everything was ready."""
        began = time.monotonic()
        self.demo("up", "--detach", *(["--full"] if self.mode == "full" else []))
        return time.monotonic() - began

    def taken(self) -> Taken:
        """Look at all of it."""
        components = json.loads(self.demo("status", "--json"))["components"]
        memory = {each["component"]: int(each["memory_mib"]) for each in components}
        files = {name: (self.state / "data" / name).rglob("*") for name in STORES[self.mode]}
        # Blocks: what a file takes, not how far it reaches.
        sizes = {
            name: sum(each.stat().st_blocks * 512 for each in found if each.is_file())
            for name, found in files.items()
        }
        return Taken(memory, asyncio.run(self._rows()), sizes, self._series())

    async def _rows(self) -> dict[str, int]:
        async with (
            LgtmBackends()
            if self.mode == "full"
            else LocalBackends(self.state / "data" / "store" / "telemetry.db") as backends
        ):
            return await backends.ingested()

    def _series(self) -> dict[str, int]:
        if self.mode == "full":
            head = httpx2.get("http://127.0.0.1:9090/api/v1/status/tsdb", trust_env=False).json()[
                "data"
            ]["headStats"]
            loki = httpx2.get("http://127.0.0.1:3100/metrics", trust_env=False).text
            streams = re.search(r"^loki_ingester_memory_streams(?:{.*})? (\S+)", loki, re.MULTILINE)
            return {
                "prometheus": int(head["numSeries"]),
                "loki": int(float(streams[1])) if streams else 0,
            }
        file = sqlite3.connect(f"file:{self.state}/data/embedded/telemetry.db?mode=ro", uri=True)
        try:
            return {"store": int(file.execute("SELECT count(*) FROM series").fetchone()[0])}
        finally:
            file.close()


def main() -> None:
    """Measure the modes that can be had here."""
    said = report.arguments("bench.footprint", __doc__, STORES)
    quick, asked = said.quick, said.which or list(STORES)
    minutes = 1 if quick else 10
    if "full" in asked and (missing := [each.name for each in (TEMPO, LOKI) if not each.path]):
        sys.stderr.write(f"full is left out: no {' and no '.join(missing)} on PATH\n")
        asked.remove("full")
    tables = []
    for mode in asked:
        with tempfile.TemporaryDirectory() as folder:
            tables += measure(Stack(mode, Path(folder)), minutes, 1 if quick else STARTS)
    words = f"{minutes} min at {RATE} checkouts/s, with the usual mix of cards; a stack of its own, from an empty folder."
    section = report.Section("footprint", words, tables)
    report.draw(section)
    if said.write:
        report.write(section)


def measure(stack: Stack, minutes: int, starts: int) -> list[report.Table]:
    """Start warm some times, load, and look before and after."""
    ready, verified = [], []
    stack.up()
    try:
        stack.demo("verify", "--checkouts", "1")
        for number in range(starts):
            stack.demo("down")
            began = time.monotonic()
            ready.append(stack.up())
            stack.demo("verify", "--checkouts", "1")
            verified.append(time.monotonic() - began)
            _say(
                f"{stack.mode} warm start {number + 1}/{starts}: ready {ready[-1]:.1f} s, verified {verified[-1]:.1f} s"
            )
        before = stack.taken()
        _say(f"{stack.mode}: {minutes} min of customers")
        stack.demo("traffic", "--rate", str(RATE), "--for", f"{minutes}m")
        time.sleep(SETTLED)
        after = stack.taken()
    finally:
        stack.demo("down")
    return shown(stack.mode, before, after, minutes * 60 * RATE, (median(ready), median(verified)))


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def shown(
    mode: str, before: Taken, after: Taken, checkouts: int, start: tuple[float, float]
) -> list[report.Table]:
    """Memory by process, and what a checkout costs by store."""
    memory = [(name, str(before.memory[name]), str(count)) for name, count in after.memory.items()]
    memory.append(("all", str(sum(before.memory.values())), str(sum(after.memory.values()))))
    costs = []
    for store in STORES[mode]:
        kinds = [PILLAR[store]] if store in PILLAR else list(after.rows) if store == "local" else []
        rows = ", ".join(
            f"{(after.rows[kind] - before.rows[kind]) / checkouts:.2f} {kind}" for kind in kinds
        )
        size = f"{(after.sizes[store] - before.sizes[store]) / checkouts:,.0f}"
        known = after.series.get(store)
        grown = f"{known} (+{known - before.series.get(store, 0)})" if known is not None else ""
        costs.append((store, rows, size, grown))
    return [
        report.Table(
            f"{mode}: resident memory, MiB",
            ("process", "warm start", f"after {checkouts:,} checkouts"),
            memory,
        ),
        report.Table(
            f"{mode}: one checkout",
            ("store", "rows", "bytes on disk", "series, all (new ones)"),
            costs,
        ),
        report.Table(
            f"{mode}: warm start, seconds",
            ("ready", "first checkout verified"),
            [(f"{start[0]:.1f}", f"{start[1]:.1f}")],
        ),
    ]


if __name__ == "__main__":
    main()
