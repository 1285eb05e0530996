"""Measure how fast the local store ingests and answers: ``make bench-embedded``.

A store runs as a process on a port of its own. Four senders fill it to each number of spans that
the environment variable ``SPANS`` lists (default: ``100000 1000000``). Then 50 purchases a second
are sent while this process runs the queries of the web UI and the command line.
"""

import asyncio
import http.client
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.purchases import (
    INTERVAL_NS,
    PURCHASES,
    RECORDS,
    SPANS,
    metrics_request,
    quantile,
    request_factory,
)
from three_pillar_demo.query.local import LocalBackends

PORT = 14318
SENDERS = 4
ROUNDS = 60
"""How many times each query runs."""
NANO = 10**9
HISTORY_S = 1000
"""The age of the oldest metric point in seconds, enough for metric queries over 900 s."""
INGEST_ONLY_S = 10
"""How long the CPU usage of the store is measured, in seconds.

During this time the store ingests purchases and answers no queries.
"""
LIVE_INTERVAL_S = 0.5
"""Seconds between two requests of ``PURCHASES`` (25) purchases each: 50 purchases a second."""
START_TIMEOUT_S = 15
OK = 200

Query = Callable[[float, int], Awaitable[object]]
"""A query to measure; its arguments are the current time (epoch, in seconds) and the round
number."""


def main() -> None:
    """Start a local store, measure it at each size, and print one table for each size."""
    sizes = [int(size) for size in os.environ.get("SPANS", "100000 1000000").split()]
    out = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"STORE_PORT": str(PORT), "STORE_DATA": folder, "STORE_SIZE_MIB": "8192"}
        store = subprocess.Popen(
            [sys.executable, "-m", "three_pillar_demo.local_store"],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready()
            measure(sizes, Path(folder), psutil.Process(store.pid), out)
        finally:
            store.terminate()
            store.wait(START_TIMEOUT_S)


def measure(sizes: list[int], folder: Path, store: psutil.Process, out: Console) -> None:
    """Fill the store to each size, run the queries, and print the results to ``out``.

    ``sizes`` are total numbers of spans, in ascending order.
    """
    stored = 0
    metrics_until = time.time() - HISTORY_S
    for size in sizes:
        spans = size - stored
        seconds, acknowledgements = fill(spans, size)
        stored = size
        records = size * RECORDS // SPANS
        megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1024**2
        out.print(
            f"\n[bold]{size:,} spans, {records:,} log records[/]; {megabytes:.0f} MiB on disk"
        )
        rates = (
            f"{spans / seconds:,.0f} spans/s and"
            f" {spans * RECORDS / SPANS / seconds:,.0f} log records/s"
        )
        resident = store.memory_info().rss / 1024**2
        out.print(
            f"ingested: {rates} from {SENDERS} senders; {_describe(acknowledgements)};"
            f" resident {resident:.0f} MiB"
        )
        metrics_until = run_queries(folder / "telemetry.db", store, out, metrics_until)


def fill(spans: int, total: int) -> tuple[float, list[float]]:
    """Send ``spans`` spans and their log records to the store, the oldest first.

    ``total`` is the number of spans in the store afterwards. The first span starts as long ago as
    ``total`` spans take at 50 purchases a second, and 60 seconds more.

    Returns:
        How long the sending took, and how long the acknowledgement of each request took, both in
        seconds.
    """
    requests = spans // (PURCHASES * SPANS)
    request_interval = PURCHASES * INTERVAL_NS
    first_start_ns = time.time_ns() - (total // SPANS) * INTERVAL_NS - 60 * NANO
    with multiprocessing.get_context("spawn").Pool(SENDERS) as pool:
        pool.map(_build_template, range(SENDERS))
        began = time.perf_counter()
        jobs = [
            (
                first_start_ns + sender * request_interval,
                requests // SENDERS,
                request_interval * SENDERS,
            )
            for sender in range(SENDERS)
        ]
        results = pool.map(_send, jobs, chunksize=1)
        seconds = time.perf_counter() - began
    return seconds, [acknowledgement for result in results for acknowledgement in result]


def _build_template(_number: int) -> None:
    """Warm up a sender process, so that its imports do not count as sending time."""
    request_factory()


def _send(job: tuple[int, int, int]) -> list[float]:
    start, requests, interval = job
    make = request_factory()
    acknowledgements = []
    connection = _connect()
    for number in range(requests):
        traces, logs = make(start + number * interval)
        acknowledgements.append(_post(connection, "traces", traces))
        acknowledgements.append(_post(connection, "logs", logs))
    return acknowledgements


def _connect() -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)


def _post(connection: http.client.HTTPConnection, signal: str, body: bytes) -> float:
    """Send ``body`` as often as needed until the store accepts it.

    Return the seconds from the first attempt until the store accepted ``body``.
    """
    began = time.perf_counter()
    headers = {"content-type": "application/x-protobuf"}
    while True:
        connection.request("POST", f"/v1/{signal}", body, headers)
        response = connection.getresponse()
        response.read()
        if response.status == OK:
            return time.perf_counter() - began
        time.sleep(0.1)  # its queue is full


def run_queries(file: Path, store: psutil.Process, out: Console, metrics_until: float) -> float:
    """Run each query ``ROUNDS`` times while 50 purchases a second arrive; print the results.

    Before the queries, one metric point is sent for each second from ``metrics_until`` (seconds
    since the epoch) until now.

    Returns:
        The value of ``metrics_until`` for the next call.
    """
    connection = _connect()
    while metrics_until < time.time() - 1:  # one point a second, as the services send them
        metrics_until += 1
        seconds = 10_000 + metrics_until % 10_000
        _post(connection, "metrics", metrics_request(int(metrics_until * NANO), seconds))
    stop = threading.Event()
    acknowledgements: list[float] = []
    live = threading.Thread(target=_send_live, args=(stop, acknowledgements))
    live.start()
    time.sleep(1)
    store.cpu_percent()
    began = time.perf_counter()
    time.sleep(INGEST_ONLY_S)
    cpu_percent = store.cpu_percent()
    timings = asyncio.run(_time_queries(file))
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
        f" {cpu_percent:.1f} % of a core; {_describe(acknowledgements)}"
    )
    return time.time()


def _send_live(stop: threading.Event, acknowledgements: list[float]) -> None:
    make = request_factory()
    connection = _connect()
    began = time.monotonic()
    number = 0
    while not stop.wait(max(0.0, began + number * LIVE_INTERVAL_S - time.monotonic())):
        traces, logs = make(time.time_ns() - PURCHASES * INTERVAL_NS)
        acknowledgements.append(_post(connection, "traces", traces))
        acknowledgements.append(_post(connection, "logs", logs))
        if number % 2:
            metrics = metrics_request(time.time_ns(), 10_000 + time.time() % 10_000)
            acknowledgements.append(_post(connection, "metrics", metrics))
        number += 1


async def _time_queries(file: Path) -> dict[str, list[float]]:
    trace_ids = _sample_trace_ids(file)
    async with LocalBackends(file) as store:
        queries = _queries(store, trace_ids)
        timings: dict[str, list[float]] = {name: [] for name in queries}
        for number in range(ROUNDS):
            for name, query in queries.items():
                began = time.perf_counter()
                await query(time.time(), number)
                timings[name].append(time.perf_counter() - began)
        return timings


def _sample_trace_ids(file: Path) -> list[str]:
    """Return ``ROUNDS`` trace ids, evenly spaced over the rows of the table ``span``."""
    statement = "SELECT lower(hex(trace_id)) FROM span WHERE rowid = ?"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as reader:
        max_row_id = reader.execute("SELECT max(rowid) FROM span").fetchone()[0]
        row_ids = [max_row_id * number // ROUNDS or 1 for number in range(ROUNDS)]
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
        "counters by label": lambda _now, _: store.counters(duration_count, ("http_route",)),
        "rate, error ratio, quantiles, 15 min at 5 s": lambda now, _: store.red(
            "checkout", "/checkout", now - 900, now
        ),
        "exemplars of 5 min": lambda now, _: store.exemplars(now - 300, now),
        "service graph, 5 min": lambda now, _: store.service_graph(now - 300, now),
        "service graph, 15 min": lambda now, _: store.service_graph(now - 900, now),
        "ingested items": lambda _now, _: store.ingested(),
        "freshness": lambda _now, _: store.freshness(),
    }


def _wait_until_ready() -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            connection = _connect()
            connection.request("GET", "/healthz")
            if connection.getresponse().status == OK:
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _describe(seconds: list[float]) -> str:
    p50 = quantile(seconds, 0.5) * 1000
    p95 = quantile(seconds, 0.95) * 1000
    return (
        f"acknowledged after p50 {p50:.0f} ms, p95 {p95:.0f} ms, max {max(seconds) * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
