"""Measure how fast the local store ingests and answers: ``make bench-embedded``.

A store runs as a process on ports of its own. First, four senders fill an empty store over HTTP and
another one over gRPC. Then they fill a store to each number of spans that the environment variable
``SPANS`` lists (default: ``100000 1000000``), and 50 purchases a second are sent while this process
runs the queries of the web UI and the command line.
"""

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.ingest import NANO, describe, fill
from bench.purchases import (
    INTERVAL_NS,
    PURCHASES,
    RECORDS,
    SPANS,
    metrics_request,
    quantile,
    request_factory,
)
from bench.senders import OK, TRANSPORTS, HttpSender, send
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.query.log_search import LogFilter

ROUNDS = 60
"""How many times each query runs."""
HISTORY_S = 1000
"""The age of the oldest metric point in seconds, enough for metric queries over 900 s."""
INGEST_ONLY_S = 10
"""How long the CPU usage of the store is measured, in seconds.

During this time the store ingests purchases and answers no queries.
"""
LIVE_INTERVAL_S = 0.5
"""Seconds between two requests of ``PURCHASES`` (25) purchases each: 50 purchases a second."""
START_TIMEOUT_S = 60
STORE_FOLDER = "data/store"
"""The folder of the store in the state folder of a stack."""

Query = Callable[[float, int], Awaitable[object]]
"""A query to measure; its arguments are the current time (epoch, in seconds) and the round
number."""


def main() -> None:
    """Measure the ingest over each transport, then one store at each size; print the results."""
    sizes = [int(size) for size in os.environ.get("SPANS", "100000 1000000").split()]
    out = Console(width=140)
    out.print(f"[bold]{sizes[0]:,} spans into an empty store[/]")
    for transport in TRANSPORTS:
        with running_store() as store:
            ingested = fill(transport, store.ports[transport], sizes[0], sizes[0])
            out.print(f"{transport}: {ingested}")
    with running_store() as store:
        measure(sizes, store, out)


@dataclass(frozen=True)
class RunningStore:
    """A store that runs for the benchmark: its folder, process and ports by transport."""

    folder: Path
    process: psutil.Process
    ports: dict[str, int]

    def connect(self) -> HttpSender:
        """Return a new connection over HTTP."""
        return HttpSender(self.ports["HTTP"])

    def wait_until_ready(self) -> None:
        """Wait until ``/healthz`` answers 200.

        Raises:
            OSError: The store does not listen after ``START_TIMEOUT_S``.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                connection = self.connect().connection
                connection.request("GET", "/healthz")
                if connection.getresponse().status == OK:
                    return
            except OSError:
                if time.monotonic() > deadline or not self.process.is_running():
                    raise
            time.sleep(0.05)


@contextmanager
def running_store() -> Iterator[RunningStore]:
    """Run an empty store on free ports until the end of the block."""
    ports = dict(zip(TRANSPORTS, _free_ports(), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / STORE_FOLDER
        data.mkdir(parents=True)
        settings = {
            "STORE_PORT": str(ports["HTTP"]),
            "STORE_GRPC_PORT": str(ports["gRPC"]),
            "STORE_DATA": str(data),
            "STORE_SIZE_MIB": "8192",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "three_pillar_demo.local_store"],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
        )
        try:
            store = RunningStore(data, psutil.Process(process.pid), ports)
            store.wait_until_ready()
            yield store
        finally:
            process.terminate()
            process.wait(START_TIMEOUT_S)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def measure(sizes: list[int], store: RunningStore, out: Console) -> None:
    """Fill the store to each size, run the queries, and print the results to ``out``.

    ``sizes`` are total numbers of spans, in ascending order.
    """
    stored = 0
    metrics_until = time.time() - HISTORY_S
    for size in sizes:
        ingested = fill("HTTP", store.ports["HTTP"], size - stored, size)
        stored = size
        records = size * RECORDS // SPANS
        megabytes = sum(file.stat().st_size for file in store.folder.iterdir()) / 1024**2
        out.print(
            f"\n[bold]{size:,} spans, {records:,} log records[/]; {megabytes:.0f} MiB on disk"
        )
        resident = store.process.memory_info().rss / 1024**2
        out.print(f"ingested over HTTP: {ingested}; resident {resident:.0f} MiB")
        metrics_until = run_queries(store, out, metrics_until)


def run_queries(store: RunningStore, out: Console, metrics_until: float) -> float:
    """Run each query ``ROUNDS`` times while 50 purchases a second arrive; print the results.

    Before the queries, one metric point is sent for each second from ``metrics_until`` (seconds
    since the epoch) until now.

    Returns:
        The value of ``metrics_until`` for the next call.
    """
    sender = store.connect()
    while metrics_until < time.time() - 1:  # one point a second, as the services send them
        metrics_until += 1
        seconds = 10_000 + metrics_until % 10_000
        send(sender, "metrics", metrics_request(int(metrics_until * NANO), seconds))
    stop = threading.Event()
    acknowledgements: list[float] = []
    live = threading.Thread(target=_send_live, args=(store.connect(), stop, acknowledgements))
    live.start()
    time.sleep(1)
    store.process.cpu_percent()
    began = time.perf_counter()
    time.sleep(INGEST_ONLY_S)
    cpu_percent = store.process.cpu_percent()
    timings = asyncio.run(_time_queries(store.folder / "telemetry.db"))
    stop.set()
    live.join()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("query")
    for heading in ("p50 ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for name, values in timings.items():
        p50 = quantile(values, 0.5) * 1000
        p95 = quantile(values, 0.95) * 1000
        table.add_row(name, f"{p50:.1f}", f"{p95:.1f}")
    out.print(table)
    out.print(
        f"50 purchases/s for {time.perf_counter() - began:.0f} s: the store uses"
        f" {cpu_percent:.1f} % of a core; {describe(acknowledgements)}"
    )
    return time.time()


def _send_live(sender: HttpSender, stop: threading.Event, acknowledgements: list[float]) -> None:
    make = request_factory()
    began = time.monotonic()
    number = 0
    while not stop.wait(max(0.0, began + number * LIVE_INTERVAL_S - time.monotonic())):
        traces, logs = make(time.time_ns() - PURCHASES * INTERVAL_NS)
        acknowledgements.append(send(sender, "traces", traces))
        acknowledgements.append(send(sender, "logs", logs))
        if number % 2:
            metrics = metrics_request(time.time_ns(), 10_000 + time.time() % 10_000)
            acknowledgements.append(send(sender, "metrics", metrics))
        number += 1


async def _time_queries(file: Path) -> dict[str, list[float]]:
    trace_ids = sample_trace_ids(file, ROUNDS)
    async with LocalBackends(file) as store:
        queries = _queries(store, trace_ids)
        timings: dict[str, list[float]] = {name: [] for name in queries}
        for number in range(ROUNDS):
            for name, query in queries.items():
                began = time.perf_counter()
                await query(time.time(), number)
                timings[name].append(time.perf_counter() - began)
        return timings


def sample_trace_ids(file: Path, count: int) -> list[str]:
    """Return ``count`` trace ids, evenly spaced over the rows of the table ``span``."""
    statement = "SELECT lower(hex(trace_id)) FROM span WHERE rowid = ?"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as reader:
        max_row_id = reader.execute("SELECT max(rowid) FROM span").fetchone()[0]
        row_ids = [max_row_id * number // count or 1 for number in range(count)]
        return [reader.execute(statement, (row_id,)).fetchone()[0] for row_id in row_ids]


def _queries(store: LocalBackends, trace_ids: list[str]) -> dict[str, Query]:
    duration_count = "http_server_request_duration_seconds_count"
    hour = 3600
    return {
        "spans of a trace": lambda _now, number: store.trace(trace_ids[number]),
        "log records of a trace": lambda now, number: store.trace_logs(trace_ids[number], 0, now),
        "newest 20 failed of a service, last hour (none)": lambda now, _: store.requests(
            "checkout", now - hour, now, failed=True
        ),
        "slower than 2 s, last hour (none)": lambda now, _: store.requests(
            "checkout", now - hour, now, slower_than=2
        ),
        "newest 50 log records": lambda now, _: store.logs(now - hour, now),
        "newest 50 errors": lambda now, _: store.logs(now - hour, now, severity="ERROR"),
        "text that no log record has, last hour": lambda now, _: store.logs(
            now - hour, now, text="no log record has this"
        ),
        "service, level and text that no log record has": lambda now, _: store.search_logs(
            now - hour, now, LogFilter("checkout", "INFO", "no log record has this")
        ),
        "counters by label": lambda _now, _: store.counters(duration_count, ("http_route",)),
        "rate, error ratio, quantiles, 15 min at 5 s": lambda now, _: store.red(
            "checkout", "/checkout", now - 900, now
        ),
        "exemplars of 5 min": lambda now, _: store.exemplars(now - 300, now),
        "service graph, 5 min": lambda now, _: store.service_graph(now - 300, now),
        "service graph, 15 min": lambda now, _: store.service_graph(now - 900, now),
        "service map, 30 s": lambda now, _: store.service_map(now - 30, now),
        "service map, 15 min": lambda now, _: store.service_map(now - 900, now),
        "ingested items": lambda _now, _: store.ingested(),
        "freshness": lambda _now, _: store.freshness(),
    }


if __name__ == "__main__":
    main()
