"""How fast the embedded store takes in and answers: ``make bench-embedded [SPANS="100000 1000000"]``.

A real process on a port of its own; four senders; then 50 purchases a second while the questions are asked from this
process, as the page and the command ask them.
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
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.purchases import EACH, LINES, SPANS, STEP, counts, share, template
from three_pillar_demo.query.local import LocalBackends

PORT = 14318
SENDERS = 4
LIVE_SECONDS = 40
ROUNDS = 60
NANO = 10**9
HISTORY = 1000
"""Seconds of metric points ahead of the questions: over the 15 minutes that are asked for."""


def main() -> None:
    """Measure at each size, and print one table."""
    sizes = [int(each) for each in os.environ.get("SPANS", "100000 1000000").split()]
    out = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "STORE_PORT": str(PORT),
            "STORE_DATA": folder,
            "STORE_SIZE_MIB": "8192",
        }
        receiver = subprocess.Popen(
            [sys.executable, "-m", "three_pillar_demo.local_store"],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        try:
            _until_ready()
            stored, told = 0, time.time() - HISTORY
            for size in sizes:
                seconds, acks = fill(size - stored, size)
                taken, stored = size - stored, size
                out.print(
                    f"\n[bold]{size:,} spans, {size * LINES // SPANS:,} lines[/]; {_megabytes(folder)}"
                )
                rates = f"{taken / seconds:,.0f} spans/s and {taken * LINES / SPANS / seconds:,.0f} lines/s"
                resident = psutil.Process(receiver.pid).memory_info().rss / 1024**2
                out.print(
                    f"taken in: {rates} from {SENDERS} senders; {_acks(acks)}; resident {resident:.0f} MiB"
                )
                told = ask(Path(folder) / "telemetry.db", psutil.Process(receiver.pid), out, told)
        finally:
            receiver.terminate()
            receiver.wait(15)


def fill(spans: int, until: int) -> tuple[float, list[float]]:
    """Send ``spans`` spans and their lines, old ones first; returns the seconds it took and each request's."""
    requests = spans // (EACH * SPANS)
    first = time.time_ns() - (until // SPANS) * STEP - 60 * NANO
    with multiprocessing.get_context("spawn").Pool(SENDERS) as pool:
        pool.map(_warm, range(SENDERS))
        began = time.perf_counter()
        jobs = [
            (first + at * EACH * STEP, requests // SENDERS, EACH * STEP * SENDERS)
            for at in range(SENDERS)
        ]
        acks = [ack for each in pool.map(_send, jobs, chunksize=1) for ack in each]
        return time.perf_counter() - began, acks


def _warm(_number: int) -> None:
    template()


def _send(job: tuple[int, int, int]) -> list[float]:
    start, requests, step = job
    patch, acks = template(), []
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    for number in range(requests):
        for signal, body in zip(("traces", "logs"), patch(start + number * step), strict=True):
            acks.append(_post(connection, signal, body))
    return acks


def _post(connection: http.client.HTTPConnection, signal: str, body: bytes) -> float:
    began = time.perf_counter()
    while True:
        connection.request(
            "POST", f"/v1/{signal}", body, {"content-type": "application/x-protobuf"}
        )
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:  # noqa: PLR2004
            return time.perf_counter() - began
        time.sleep(0.1)  # it said: come again


def ask(file: Path, receiver: psutil.Process, out: Console, told: float) -> float:
    """Ask each question ``ROUNDS`` times while 50 purchases a second come in; print p50, p95, and the receiver's load.

    Metric points are sent from ``told`` on, in seconds since the epoch; returns until when they are.
    """
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    while told < time.time() - 1:  # a point a second, as the services send them
        told += 1
        _post(connection, "metrics", counts(int(told * NANO), 10_000 + told % 10_000))
    stop = threading.Event()
    acks: list[float] = []
    live = threading.Thread(target=_live, args=(stop, acks))
    live.start()
    time.sleep(1)
    receiver.cpu_percent()
    began = time.perf_counter()
    time.sleep(10)  # the receiver alone: nobody asks
    alone = receiver.cpu_percent()
    timings = asyncio.run(_questions(file))
    stop.set()
    live.join()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("question")
    for heading in ("p50 ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for name, values in timings.items():
        table.add_row(name, f"{share(values, 0.5) * 1000:.1f}", f"{share(values, 0.95) * 1000:.1f}")
    out.print(table)
    out.print(
        f"50 purchases/s for {time.perf_counter() - began:.0f} s: the receiver takes {alone:.1f} % of a core; {_acks(acks)}"
    )
    return time.time()


def _live(stop: threading.Event, acks: list[float]) -> None:
    patch, connection, began = (
        template(),
        http.client.HTTPConnection("127.0.0.1", PORT, timeout=30),
        time.monotonic(),
    )
    number = 0
    while not stop.wait(max(0.0, began + number * 0.5 - time.monotonic())):
        spans, lines = patch(time.time_ns() - EACH * STEP)
        acks += [_post(connection, "traces", spans), _post(connection, "logs", lines)]
        if number % 2:
            acks.append(
                _post(connection, "metrics", counts(time.time_ns(), 10_000 + time.time() % 10_000))
            )
        number += 1


async def _questions(file: Path) -> dict[str, list[float]]:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as reader:
        last = reader.execute("SELECT max(rowid) FROM span").fetchone()[0]
        some = [
            reader.execute(
                "SELECT lower(hex(trace_id)) FROM span WHERE rowid = ?",
                (last * each // ROUNDS or 1,),
            ).fetchone()[0]
            for each in range(ROUNDS)
        ]
    reader.close()
    async with LocalBackends(file) as store:
        questions: dict[str, Callable[[float, int], Awaitable[object]]] = {
            "spans of a trace": lambda _now, at: store.trace(some[at]),
            "lines of a trace": lambda now, at: store.trace_logs(some[at], 0, now),
            "newest 20 failed of a service, last hour (none)": lambda now, _: store.requests(
                "checkout", now - 3600, now, failed=True
            ),
            "slower than 2 s, last hour (none)": lambda now, _: store.requests(
                "checkout", now - 3600, now, slower_than=2
            ),
            "newest 50 lines": lambda now, _: store.logs(now - 3600, now),
            "newest 50 errors": lambda now, _: store.logs(now - 3600, now, severity="ERROR"),
            "text that no line has, last hour": lambda now, _: store.logs(
                now - 3600, now, text="nobody said this"
            ),
            "counters by label": lambda _now, _: store.counters(
                "http_server_request_duration_seconds_count", ("http_route",)
            ),
            "rate, error ratio, quantiles, 15 min at 5 s": lambda now, _: store.red(
                "checkout", "/checkout", now - 900, now
            ),
            "exemplars of 5 min": lambda now, _: store.exemplars(now - 300, now),
            "who calls whom, 5 min": lambda now, _: store.service_graph(now - 300, now),
            "who calls whom, 15 min": lambda now, _: store.service_graph(now - 900, now),
            "what each pillar has counted": lambda _now, _: store.ingested(),
            "how old the newest is": lambda _now, _: store.freshness(),
        }
        timings: dict[str, list[float]] = {name: [] for name in questions}
        for at in range(ROUNDS):
            for name, question in questions.items():
                began = time.perf_counter()
                await question(time.time(), at)
                timings[name].append(time.perf_counter() - began)
        return timings


def _until_ready() -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=2)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:  # noqa: PLR2004
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _acks(seconds: list[float]) -> str:
    return f"ack p50 {share(seconds, 0.5) * 1000:.0f} ms, p95 {share(seconds, 0.95) * 1000:.0f}, max {max(seconds) * 1000:.0f}"


def _megabytes(folder: str) -> str:
    size = sum(each.stat().st_size for each in Path(folder).iterdir())
    return f"{size / 1024**2:.0f} MiB on disk"


if __name__ == "__main__":
    main()
