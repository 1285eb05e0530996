"""Records what Tempo, Loki and Prometheus answer, for test_lgtm.py: ``python -m tests.backends.record`` on ``demo up --full``.

Two purchases are made, one that fails and one that is declined, after two others like them, so that all counters have risen
from something; then every question is asked once, through the code that
the tests read the answers with. What nobody reads (statistics of a query, other figures) is left out.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2

from three_pillar_demo.load import checkout_client
from three_pillar_demo.query import http_clients, lgtm
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.query.lgtm import LgtmBackends

FOLDER = Path(__file__).parent / "recorded"
FIGURES = (
    "tempo_distributor_spans_received_total",
    "loki_distributor_lines_received_total",
    "prometheus_tsdb_head_samples_app",
)
TRACEBACK = re.compile(r'Traceback \(most recent call last\)(?:[^"\\]|\\.)*')
"""In JSON: it names files of whoever recorded it."""
SETTLE_SECONDS = 10
NOBODY = "f" * 32
QUOTES = 'a "quoted" \\ text'


@dataclass(frozen=True)
class Told:
    """What the questions are about, and when they were asked; times in seconds since the epoch."""

    failed: str
    declined: str
    order_id: str
    start: float
    end: float
    now: float


QUESTIONS: dict[str, Callable[[LgtmBackends, Told], Awaitable[Any]]] = {
    "trace": lambda it, told: it.trace(told.failed),
    "trace_missing": lambda it, _: it.trace(NOBODY),
    "requests": lambda it, told: it.requests("checkout", told.start, told.end),
    "requests_failed": lambda it, told: it.requests("checkout", told.start, told.end, failed=True),
    "requests_slower": lambda it, told: it.requests(
        "payment", told.start, told.end, failed=True, slower_than=0.0001
    ),
    "requests_order": lambda it, told: it.requests(
        "checkout", told.start, told.end, order_id=told.order_id
    ),
    "requests_none": lambda it, told: it.requests(QUOTES, told.start, told.end, order_id=QUOTES),
    "trace_logs": lambda it, told: it.trace_logs(told.failed, told.start, told.end),
    "logs": lambda it, told: it.logs(told.start, told.end, service="checkout", canonical=True),
    "logs_text": lambda it, told: it.logs(
        told.start, told.end, severity="ERROR", text="not placed"
    ),
    "logs_limit": lambda it, told: it.logs(told.start, told.end, limit=1),
    "logs_none": lambda it, told: it.logs(
        told.start, told.end, service=QUOTES, severity=QUOTES, text=QUOTES
    ),
    "counters": lambda it, _: it.counters(
        "checkout_requests_total", ("endpoint", "status"), {"endpoint": "/checkout"}
    ),
    "counters_all": lambda it, _: it.counters(
        "http_server_request_duration_seconds_count", (), within=3600
    ),
    "counters_none": lambda it, _: it.counters(
        "checkout_requests_total", ("status",), {"endpoint": QUOTES}
    ),
    "red": lambda it, told: it.red(
        "checkout", "/checkout", told.end - 10, told.end, window=30, quantiles=(0.5, 0.99)
    ),
    "red_none": lambda it, told: it.red(
        "checkout", "/nowhere", told.end - 5, told.end, quantiles=(0.5,)
    ),
    "exemplars": lambda it, told: it.exemplars(told.start, told.end),
    "service_graph": lambda it, told: it.service_graph(told.end - 60, told.end),
    "ingested": lambda it, _: it.ingested(),
    "freshness": lambda it, _: it.freshness(),
    "health": lambda it, _: it.health(),
    "error": lambda it, _: it.promql("sum("),
}
"""By the name of the recording."""


def stop_the_clock(patch: Callable[[object, str, object], None], now: float) -> None:
    """Have the questions asked at ``now``; ``patch`` is ``setattr``, or a test's."""
    for module in (http_clients, lgtm):
        patch(module, "time", SimpleNamespace(time=lambda: now))


class Recorder(httpx2.AsyncHTTPTransport):
    """Asks, and keeps what was asked and said."""

    def __init__(self) -> None:
        """Nothing kept yet."""
        super().__init__()
        self.kept: list[dict[str, Any]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Ask over the network."""
        answer = await super().handle_async_request(request)
        text = TRACEBACK.sub("Traceback, left out", (await answer.aread()).decode())
        said = json.loads(text) if text.startswith("{") else _figures(text)
        if isinstance(said, dict):
            said.pop("metrics", None)
            if isinstance(said.get("data"), dict):
                said["data"].pop("stats", None)
        self.kept.append({"asked": asked(request), "status": answer.status_code, "said": said})
        return httpx2.Response(answer.status_code, text=text)


def asked(request: httpx2.Request) -> list[str]:
    """A request as a recording has it: port, path and parameters."""
    return [
        f"{request.url.port}{request.url.path}",
        *sorted(f"{key}={value}" for key, value in request.url.params.items()),
    ]


def _figures(text: str) -> str:
    kept = [line for line in text.splitlines() if line.startswith(FIGURES)] or [text.strip()]
    return "\n".join(kept)


async def _record() -> None:
    async with checkout_client.client() as http:
        for number in range(2):
            start = time.time()
            failed = await checkout_client.buy(http, "gateway-timeout", f"recorded-{number}-failed")
            declined = await checkout_client.buy(http, "declined", f"recorded-{number}-declined")
            await asyncio.sleep(SETTLE_SECONDS)
    told = Told(
        failed.trace_id,
        declined.trace_id,
        failed.order_id or "",
        int(start) - 1.0,
        int(time.time()) + 0.0,
        time.time(),
    )
    (FOLDER / "told.json").write_text(json.dumps(vars(told), indent=1) + "\n")
    stop_the_clock(setattr, told.now)
    for name, question in QUESTIONS.items():
        recorder = Recorder()
        async with LgtmBackends(recorder) as it:
            try:
                answer = await question(it, told)
            except BackendError as error:
                answer = error
        (FOLDER / f"{name}.json").write_text(
            json.dumps(recorder.kept, indent=1, ensure_ascii=False) + "\n"
        )
        print(name, answer, sep=": ")  # noqa: T201  (to be read, and put into the test)


if __name__ == "__main__":
    asyncio.run(_record())
