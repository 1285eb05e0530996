"""Fill a local store from several processes at once, and measure how fast it accepts the data."""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from multiprocessing.synchronize import Barrier

from bench.purchases import (
    INTERVAL_NS,
    PURCHASES,
    RECORDS,
    SHOP,
    SPANS,
    Call,
    RequestFactory,
    quantile,
    request_factory,
)
from bench.senders import TRANSPORTS, Sender, send

SENDERS = 4
SHOP_ONLY = ((SHOP,) * PURCHASES,)
"""The purchases of the demo's own shop alone."""
NANO = 10**9
NEWEST_AGE_NS = 60 * NANO
"""The age of the newest purchase when the sending begins."""


@dataclass
class Ingested:
    """The result of one filling: how many spans, how long it took, and each acknowledgement.

    All times are in seconds.
    """

    spans: int
    seconds: float
    acknowledgements: list[float]

    def __str__(self) -> str:
        """Return the rates and the times of acknowledgement as one line."""
        records = self.spans * RECORDS / SPANS
        return (
            f"{self.spans / self.seconds:,.0f} spans/s and"
            f" {records / self.seconds:,.0f} log records/s from {SENDERS} senders;"
            f" {describe(self.acknowledgements)}"
        )


@dataclass
class _Worker:
    """What a sending process keeps between its start and its job."""

    senders: list[Sender] = field(default_factory=list)
    factories: list[RequestFactory] = field(default_factory=list)


_worker = _Worker()


def fill(
    transport: str,
    port: int,
    spans: int,
    total: int,
    requests_calls: Sequence[Sequence[Call]] = SHOP_ONLY,
) -> Ingested:
    """Send ``spans`` spans and their log records to the store on ``port``, the oldest first.

    ``transport`` is a key of ``TRANSPORTS``, ``total`` the number of spans in the store afterwards.
    ``requests_calls`` are the purchases of each request; after the last, the first is used again.
    The first span starts as long ago as ``total`` spans take at 50 purchases a second, and 60
    seconds more. The time does not include the start of the sending processes.
    """
    requests = spans // (PURCHASES * SPANS)
    request_interval = PURCHASES * INTERVAL_NS
    first_start_ns = time.time_ns() - (total // SPANS) * INTERVAL_NS - NEWEST_AGE_NS
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(SENDERS + 1)
    with context.Pool(SENDERS, _prepare, (transport, port, ready, requests_calls)) as pool:
        ready.wait()
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
    return Ingested(spans, seconds, [second for result in results for second in result])


def _prepare(
    transport: str, port: int, ready: Barrier, requests_calls: Sequence[Sequence[Call]]
) -> None:
    """Encode the templates and connect, before the measured time begins in all processes."""
    _worker.factories.extend(request_factory(calls) for calls in requests_calls)
    _worker.senders.append(TRANSPORTS[transport](port))
    ready.wait()


def _send(job: tuple[int, int, int]) -> list[float]:
    start, requests, interval = job
    (sender,) = _worker.senders
    acknowledgements = []
    for number, make in enumerate(islice(cycle(_worker.factories), requests)):
        traces, logs = make(start + number * interval)
        acknowledgements.append(send(sender, "traces", traces))
        acknowledgements.append(send(sender, "logs", logs))
    return acknowledgements


def describe(seconds: list[float]) -> str:
    """Return the median, the 95th percentile and the maximum of times of acknowledgement."""
    p50 = quantile(seconds, 0.5) * 1000
    p95 = quantile(seconds, 0.95) * 1000
    return (
        f"acknowledged after p50 {p50:.0f} ms, p95 {p95:.0f} ms, max {max(seconds) * 1000:.0f} ms"
    )
