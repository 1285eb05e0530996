"""Records responses of Tempo, Loki and Prometheus for test_lgtm.py.

Run ``python -m tests.demo.query.record`` while ``demo up --full`` is running. It makes two
purchases, one that fails and one that is declined, after two others like them, so that each counter
rises from a value above zero. Then it makes every query once, through the code that the tests read
the responses with. Parts of responses that no code reads, such as statistics, are left out.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2

from three_pillar_demo.load import checkout_client
from three_pillar_demo.query import http_clients, lgtm
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.stack import ports

BACKEND_PORTS = (ports.TEMPO, ports.LOKI, ports.PROMETHEUS)
FOLDER = Path(__file__).parent / "recorded"
CONTEXT_FILE = FOLDER / "context.json"
RECORDED_METRICS = (
    "tempo_distributor_spans_received_total",
    "loki_distributor_lines_received_total",
    "prometheus_tsdb_head_samples_app",
)
TRACEBACK = re.compile(r'Traceback \(most recent call last\)(?:[^"\\]|\\.)*')
"""A Python traceback within JSON; it is replaced because it names files of this machine."""
SETTLE_S = 10
UNKNOWN_TRACE = "f" * 32
QUOTES = 'a "quoted" \\ text'


@dataclass(frozen=True)
class Context:
    """The arguments of the queries, stored with the recordings.

    ``failed`` and ``declined`` are the trace ids of two purchases. ``start``, ``end`` and ``now``
    are in seconds since the epoch.
    """

    failed: str
    declined: str
    order_id: str
    start: float
    end: float
    now: float


Query = Callable[[LgtmBackends, Context], Awaitable[Any]]

QUERIES: dict[str, Query] = {
    "trace": lambda backends, context: backends.trace(context.failed),
    "trace_missing": lambda backends, _: backends.trace(UNKNOWN_TRACE),
    "requests": lambda backends, context: backends.requests("checkout", context.start, context.end),
    "requests_failed": lambda backends, context: backends.requests(
        "checkout", context.start, context.end, failed=True
    ),
    "requests_slower": lambda backends, context: backends.requests(
        "payment", context.start, context.end, failed=True, slower_than=0.0001
    ),
    "requests_order": lambda backends, context: backends.requests(
        "checkout", context.start, context.end, order_id=context.order_id
    ),
    "requests_none": lambda backends, context: backends.requests(
        QUOTES, context.start, context.end, order_id=QUOTES
    ),
    "trace_logs": lambda backends, context: backends.trace_logs(
        context.failed, context.start, context.end
    ),
    "logs": lambda backends, context: backends.logs(
        context.start, context.end, service="checkout", canonical=True
    ),
    "logs_text": lambda backends, context: backends.logs(
        context.start, context.end, severity="ERROR", text="not placed"
    ),
    "logs_limit": lambda backends, context: backends.logs(context.start, context.end, limit=1),
    "logs_none": lambda backends, context: backends.logs(
        context.start, context.end, service=QUOTES, severity=QUOTES, text=QUOTES
    ),
    "counters": lambda backends, _: backends.counters(
        "checkout_requests_total", ("endpoint", "status"), {"endpoint": "/checkout"}
    ),
    "counters_all": lambda backends, _: backends.counters(
        "http_server_request_duration_seconds_count", (), within=3600
    ),
    "counters_none": lambda backends, _: backends.counters(
        "checkout_requests_total", ("status",), {"endpoint": QUOTES}
    ),
    "red": lambda backends, context: backends.red(
        "checkout", "/checkout", context.end - 10, context.end, window=30, quantiles=(0.5, 0.99)
    ),
    "red_none": lambda backends, context: backends.red(
        "checkout", "/nowhere", context.end - 5, context.end, quantiles=(0.5,)
    ),
    "exemplars": lambda backends, context: backends.exemplars(context.start, context.end),
    "service_graph": lambda backends, context: backends.service_graph(
        context.end - 60, context.end
    ),
    "ingested": lambda backends, _: backends.ingested(),
    "freshness": lambda backends, _: backends.freshness(),
    "health": lambda backends, _: backends.health(),
    "error": lambda backends, _: backends.promql("sum("),
}
"""The queries to record, by the name of the recording's file without ``.json``."""


def fix_time(patch: Callable[[object, str, object], None], now: float) -> None:
    """Replace the clock of the query clients by the fixed time ``now``.

    ``patch`` is ``setattr``, or in a test ``monkeypatch.setattr``.
    """
    for module in (http_clients, lgtm):
        patch(module, "time", SimpleNamespace(time=lambda: now))


class Recorder(httpx2.AsyncHTTPTransport):
    """An HTTP transport that keeps each request and its response in ``recordings``."""

    def __init__(self) -> None:
        """Create a transport without recordings."""
        super().__init__()
        self.recordings: list[dict[str, Any]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; record it and its response."""
        response = await super().handle_async_request(request)
        text = TRACEBACK.sub("Traceback, left out", (await response.aread()).decode())
        recording = {
            "request": recorded_request(request),
            "status": response.status_code,
            "response": _recorded_response(text),
        }
        self.recordings.append(recording)
        return httpx2.Response(response.status_code, text=text)


def recorded_request(request: httpx2.Request) -> list[str]:
    """Return a request as it is recorded: port with path, followed by the sorted parameters.

    The port is the default of the backend, whichever it has now.
    """
    defaults = {port.number: port.default for port in BACKEND_PORTS}
    port = defaults.get(request.url.port or 0, request.url.port)
    parameters = sorted(f"{key}={value}" for key, value in request.url.params.items())
    return [f"{port}{request.url.path}", *parameters]


def _recorded_response(text: str) -> Any:  # noqa: ANN401  (any JSON value)
    """Return a response as it is recorded.

    JSON is recorded without statistics, a ``/metrics`` page with ``RECORDED_METRICS`` only.
    """
    if not text.startswith("{"):
        lines = [line for line in text.splitlines() if line.startswith(RECORDED_METRICS)]
        return "\n".join(lines or [text.strip()])
    response = json.loads(text)
    response.pop("metrics", None)
    if isinstance(response.get("data"), dict):
        response["data"].pop("stats", None)
    return response


async def _make_purchases() -> Context:
    async with checkout_client.client() as http:
        for number in range(2):
            start = time.time()
            failed = await checkout_client.buy(http, "gateway-timeout", f"recorded-{number}-failed")
            declined = await checkout_client.buy(http, "declined", f"recorded-{number}-declined")
            await asyncio.sleep(SETTLE_S)
    return Context(
        failed=failed.trace_id,
        declined=declined.trace_id,
        order_id=failed.order_id or "",
        start=int(start) - 1.0,
        end=float(int(time.time())),
        now=time.time(),
    )


async def _record() -> None:
    context = await _make_purchases()
    CONTEXT_FILE.write_text(json.dumps(asdict(context), indent=1) + "\n")
    fix_time(setattr, context.now)
    for name, query in QUERIES.items():
        recorder = Recorder()
        async with LgtmBackends(recorder) as backends:
            try:
                result = await query(backends, context)
            except BackendError as error:
                result = error
        text = json.dumps(recorder.recordings, indent=1, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(f"{text}\n")
        print(name, result, sep=": ")  # noqa: T201  (to be copied into the test)


if __name__ == "__main__":
    asyncio.run(_record())
