"""Measure the web UI on a large store: ``make bench-embedded``.

A store holds as many spans as the environment variable ``SPANS`` says (default: ``1000000``), of 50
services with 40 routes each. The process of the web UI reads it, and each page is loaded as a
browser loads it, while 50 purchases a second arrive. A page is complete when no part of it says
that its query has no answer yet.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx2
import psutil
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from rich.console import Console
from rich.table import Table

from bench.ingest import NANO, fill
from bench.local_store import LIVE_INTERVAL_S, RunningStore, running_store, sample_trace_ids
from bench.purchases import (
    INTERVAL_NS,
    PURCHASES,
    Call,
    add_durations,
    quantile,
    request_factory,
)
from bench.senders import HttpSender, send
from three_pillar_demo.web.cache import PENDING

SERVICES = tuple(f"service-{number:02}" for number in range(50))
ROUTES_PER_SERVICE = 40
ROUNDS = 50
"""How many times each page is loaded."""
ROUND_INTERVAL_S = 2.0
"""Seconds between the beginnings of two rounds, so that kept results are due again."""
METRICS_S = 900
"""The age of the oldest metric point in seconds."""
METRIC_INTERVAL_S = 15
"""Seconds between two metric points of one series."""
REQUESTS_PER_POINT = 10
"""The number of requests to each route between two metric points."""
TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.02


@dataclass
class Timings:
    """The times of one page in seconds: of the first answer, and until the page was complete."""

    first: list[float] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)


def main() -> None:
    """Fill a store, load each page ``ROUNDS`` times, and print the times and the memory."""
    spans = int(os.environ.get("SPANS", "1000000").split()[-1])
    out = Console(width=140)
    calls = all_calls()
    routes = len(SERVICES) * ROUTES_PER_SERVICE
    with running_store() as store:
        fill("HTTP", store.ports["HTTP"], spans, spans, calls)
        send_metrics(store.connect())
        out.print(f"\n[bold]{spans:,} spans of {len(SERVICES)} services with {routes:,} routes[/]")
        with running_web(store) as (client, process), live_purchases(store, calls):
            timings = load_pages(client, store)
            print_timings(timings, out)
            for name, measured in (("page", process), ("store", store.process)):
                out.print(f"{name}: {measured.memory_info().rss / 1024**2:.0f} MiB resident")


def all_calls() -> list[list[Call]]:
    """Return the calls of each request to send; together they call every route of every service."""
    calls = []
    for number in range(len(SERVICES) * ROUTES_PER_SERVICE):
        client = number % len(SERVICES)
        route = number // len(SERVICES)
        server = (client + 1 + route) % len(SERVICES)
        calls.append(
            Call(
                (SERVICES[client], SERVICES[server]),
                (route_of(SERVICES[client], route), route_of(SERVICES[server], route)),
            )
        )
    return [calls[begin : begin + PURCHASES] for begin in range(0, len(calls), PURCHASES)]


def route_of(service: str, number: int) -> str:
    """Return the path of a route, which only one service has."""
    return f"/{service}/resources-{number:02}"


def send_metrics(sender: HttpSender) -> None:
    """Send the duration histograms of every route, one point for each interval until now."""
    now = time.time_ns()
    start = now - METRICS_S * NANO
    for age in range(METRICS_S, -1, -METRIC_INTERVAL_S):
        count = (METRICS_S - age) // METRIC_INTERVAL_S * REQUESTS_PER_POINT
        for service in SERVICES:
            request = ExportMetricsServiceRequest()
            counts = {
                (route_of(service, number), "200"): count for number in range(ROUTES_PER_SERVICE)
            }
            add_durations(request, service, counts, start, now - age * NANO)
            send(sender, "metrics", request.SerializeToString())


@contextmanager
def running_web(store: RunningStore) -> Iterator[tuple[httpx2.Client, psutil.Process]]:
    """Run the web UI of the store's state folder; yield a client of it and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "DEMO_STATE": str(store.folder.parents[1]),
        "WEB_PORT": str(port),
        "STORE_PORT": str(store.ports["HTTP"]),
        "STORE_GRPC_PORT": str(store.ports["gRPC"]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "three_pillar_demo.web"],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_S) as client:
            wait_until_ready(client)
            yield client, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def wait_until_ready(client: httpx2.Client) -> None:
    """Wait until the web UI answers.

    Raises:
        httpx2.TransportError: It does not answer after ``TIMEOUT_S``.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            client.get("/healthz").raise_for_status()
        except httpx2.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_INTERVAL_S)
        else:
            return


@contextmanager
def live_purchases(store: RunningStore, calls: list[list[Call]]) -> Iterator[None]:
    """Send 50 purchases a second to the store until the end of the block."""
    stop = threading.Event()
    factories = [request_factory(calls_of_request) for calls_of_request in calls]

    def send_all() -> None:
        sender = store.connect()
        began = time.monotonic()
        number = 0
        while not stop.wait(max(0.0, began + number * LIVE_INTERVAL_S - time.monotonic())):
            make = factories[number % len(factories)]
            traces, logs = make(time.time_ns() - PURCHASES * INTERVAL_NS)
            send(sender, "traces", traces)
            send(sender, "logs", logs)
            number += 1

    thread = threading.Thread(target=send_all)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def load_pages(client: httpx2.Client, store: RunningStore) -> dict[str, Timings]:
    """Load each page ``ROUNDS`` times; return the times by the name of the page."""
    trace_ids = sample_trace_ids(store.folder / "telemetry.db", ROUNDS)
    timings: dict[str, Timings] = {}
    for number in range(ROUNDS):
        next_round = time.monotonic() + ROUND_INTERVAL_S
        for name, path in pages(number, trace_ids[number]).items():
            first, complete = load(client, path)
            timings.setdefault(name, Timings()).first.append(first)
            timings[name].complete.append(complete)
        time.sleep(max(0.0, next_round - time.monotonic()))
    return timings


def pages(number: int, trace_id: str) -> dict[str, str]:
    """Return the addresses that round ``number`` loads, by the name of the page."""
    service = SERVICES[number % len(SERVICES)]
    route = route_of(service, number % ROUTES_PER_SERVICE)
    return {
        "start page": "/?tour=0",
        "page of another service": f"/service?service={service}&tour=0",
        "page of another request": f"/trace/{trace_id}",
        "search by another attribute": f"/?tour=0&search={quote(f'http.route={route}')}",
        "search by an attribute of none": f"/?tour=0&search=colour%3Dred-{number}",
    }


def load(client: httpx2.Client, path: str) -> tuple[float, float]:
    """Load ``path`` until the page is complete.

    Return the seconds until its first answer, and until it was complete.

    Raises:
        TimeoutError: The page is not complete after ``TIMEOUT_S``.
    """
    began = time.perf_counter()
    first = 0.0
    while time.perf_counter() - began < TIMEOUT_S:
        response = client.get(path).raise_for_status()
        now = time.perf_counter() - began
        first = first or now
        if PENDING.error not in response.text:
            return first, now
        time.sleep(POLL_INTERVAL_S)
    raise TimeoutError(f"{path} is not complete after {TIMEOUT_S:.0f} s")


def print_timings(timings: dict[str, Timings], out: Console) -> None:
    """Print the median and the 95th percentile of the times of each page."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("page, 50 purchases a second arrive")
    for heading in ("answer p50 ms", "p95 ms", "complete p50 ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for name, measured in timings.items():
        cells = [
            f"{quantile(values, share) * 1000:.0f}"
            for values in (measured.first, measured.complete)
            for share in (0.5, 0.95)
        ]
        table.add_row(name, *cells)
    out.print(table)


if __name__ == "__main__":
    main()
