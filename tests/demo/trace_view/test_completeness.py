"""Tests for what counts as missing from a trace: nothing that nobody has promised to send."""

import asyncio
from typing import Any, cast

import pytest

from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, canonical, line, span
from three_pillar_demo.query.interface import BackendError, Backends, LogRecord, Span
from three_pillar_demo.trace_view.completeness import (
    KnownSenders,
    missing_logs,
    missing_spans,
)
from three_pillar_demo.trace_view.known_senders import MAX_LOOKUPS, known_senders

STOCK = {"url.full": "http://10.1.2.3:3000/stock"}
EARLIER = [
    span(CALL, "", "CLIENT", service="web", attributes=STOCK),
    span(CHARGE, CALL, service="stock"),
]
"""An earlier trace, in which stock has answered a call of web."""


class EarlierTelemetry:
    """Backends with one earlier trace of web and stock, and canonical records of some services."""

    def __init__(self, *, canonical_of: tuple[str, ...] = (), available: bool = True) -> None:
        """Keep canonical records of ``canonical_of``; fail every query unless ``available``."""
        self.canonical_of = canonical_of
        self.available = available
        self.query_count = 0

    def _count(self) -> None:
        self.query_count += 1
        if not self.available:
            raise BackendError("the store is away")

    async def logs(self, *_: float, service: str, **_options: object) -> list[LogRecord]:
        """Return the canonical record of ``service``."""
        self._count()
        return [canonical(ROOT, name, 200, "") for name in self.canonical_of if name == service]

    async def request_spans(self, *_: float, service: str, **_options: object) -> list[Span]:
        """Return the request of ``service`` in the earlier trace."""
        self._count()
        return [item for item in EARLIER if (item.kind, item.service) == ("SERVER", service)]

    async def requests(self, _service: str, *_: float, **_options: object) -> list[str]:
        """Return the id of the earlier trace."""
        self._count()
        return [TRACE]

    async def trace(self, _trace_id: str) -> list[Span]:
        """Return the earlier trace."""
        self._count()
        return EARLIER


def learn(
    spans: list[Span],
    logs: list[LogRecord] | None = None,
    **options: Any,  # noqa: ANN401  (those of EarlierTelemetry)
) -> tuple[KnownSenders, int]:
    """Return what is learnt from the earlier telemetry, and the number of queries it took."""
    backends = EarlierTelemetry(**options)
    known = asyncio.run(known_senders(cast("Backends", backends), spans, logs or []))
    return known, backends.query_count


def web(*, service: str = "web") -> Span:
    """Return the request with which a trace begins."""
    return span(ROOT, "", service=service, name="GET /")


def call_of_web(**attributes: Any) -> Span:  # noqa: ANN401  (attributes of any type)
    """Return a call of web without a span below it."""
    return span(CALL, ROOT, "CLIENT", service="web", attributes=attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"db.system.name": "postgresql", "server.address": "127.0.0.1", "server.port": 5432},
        {"db.system": "redis", "net.peer.name": "stock"},
        {"messaging.system": "kafka", "server.address": "stock"},
        {"url.full": "https://api.example.com/stock"},
        {"http.url": "https://93.184.216.34/stock"},
        {"server.address": "api.example.com", "rpc.system": "grpc"},
        {"rpc.system": "grpc", "rpc.service": "stock.Stock", "rpc.method": "Get"},
        {"url.full": "http://[broken"},
        {"url.full": "http://localhost:4566/queue"},
        {"server.address": "10.1.2.3", "server.port": 9},
        {},
    ],
)
def test_a_call_of_an_unknown_system_misses_nothing(attributes: dict[str, Any]) -> None:
    """Databases, brokers, foreign hosts, and hosts that never sent spans leave none out."""
    spans = [web(), call_of_web(**attributes)]
    known, _ = learn(spans)
    assert not list(missing_spans(spans, known))
    assert not list(missing_spans(spans, known, still_arriving=True))


@pytest.mark.parametrize(
    ("attributes", "callee"),
    [
        ({"url.full": "http://10.1.2.3:3000/other"}, "http://10.1.2.3:3000/other"),
        ({"http.url": "http://10.1.2.3:3000/"}, "http://10.1.2.3:3000/"),
        ({"net.peer.name": "10.1.2.3", "net.peer.port": "3000"}, "10.1.2.3:3000"),
        ({"http.host": "10.1.2.3:3000", "http.target": "/x"}, "10.1.2.3:3000/x"),
        ({"server.address": "stock.shop.svc"}, "stock.shop.svc"),
        ({"url.full": "http://stock/"}, "http://stock/"),
        ({"peer.service": "stock", "server.address": "127.0.0.1"}, "stock"),
    ],
)
def test_a_call_of_a_known_service_has_another_end(attributes: dict[str, Any], callee: str) -> None:
    """A service that has answered at this address, or sends spans under this name, is awaited."""
    spans = [web(), call_of_web(**attributes)]
    known, query_count = learn(spans)
    expected = [f"the span at the other end of web's call to {callee}"]
    assert list(missing_spans(spans, known)) == expected
    assert query_count <= 3 * MAX_LOOKUPS + 1


def test_a_second_call_in_the_same_trace_is_known() -> None:
    """One answered call of a trace is enough to know that another one lacks its span."""
    answered = span(ORDER, ROOT, "CLIENT", service="web", attributes=STOCK)
    spans = [web(), answered, span(CHARGE, ORDER, service="stock"), call_of_web(**STOCK)]
    assert len(list(missing_spans(spans))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"attributes": {"error.type": "ConnectError"}},
        {"attributes": {"error.type": "ECONNREFUSED"}},
        {"attributes": {"http.error_name": "Error", "http.error_message": "connect ECONNREFUSED"}},
        {"attributes": {"rpc.system": "grpc", "rpc.grpc.status_code": 14}},
        {"message": "dial tcp: lookup stock: no such host"},
        {"exceptions": ("java.net.ConnectException: Connection refused",)},
        {"exceptions": ("ConnectionError: NewConnectionError(...)",)},
    ],
)
def test_a_call_that_did_not_arrive_has_no_other_end(changes: dict[str, Any]) -> None:
    """A call whose connection was refused, in any language, needs no SERVER span."""
    attributes = STOCK | changes.get("attributes", {})
    call = span(CALL, ROOT, "CLIENT", error=True, **(changes | {"attributes": attributes}))
    known = KnownSenders(addresses=frozenset({"10.1.2.3:3000"}))
    assert not list(missing_spans([web(), call], known))


def test_missing_parents_are_named() -> None:
    """A parent that has not arrived is described by its child."""
    orphan = span(CHARGE, CALL, service="payment", name="POST /charges")
    expected = ["the parent of payment's span POST /charges"]
    assert list(missing_spans([orphan, web()])) == expected
    job = span(ORDER, CALL, "INTERNAL", service="payment", name="POST /charges")
    assert list(missing_spans([job])) == expected


def test_the_caller_of_the_whole_trace_may_send_no_spans() -> None:
    """A request from a browser or proxy with a traceparent is complete, once nothing arrives."""
    request = span(ROOT, CALL, service="web", name="GET /")
    assert not list(missing_spans([request]))
    expected = ["the parent of web's span GET /"]
    assert list(missing_spans([request], still_arriving=True)) == expected


def test_only_services_with_canonical_records_lack_one() -> None:
    """A service that writes other log records, or none, lacks none of them."""
    spans = [web(), span(CALL, ROOT, service="stock", name="GET /stock")]
    known, _ = learn(spans)
    assert not list(missing_logs(spans, [line(ROOT, "hello", service="web")], known))
    known, _ = learn(spans, canonical_of=("stock",))
    assert list(missing_logs(spans, [], known)) == ["stock's log line of GET /stock"]
    of_another_request = canonical(CHARGE, "stock", 200, "")
    assert list(missing_logs(spans, [of_another_request])) == ["stock's log line of GET /stock"]


def test_a_complete_trace_needs_no_query() -> None:
    """A trace in which nothing seems to be missing is not compared with earlier ones."""
    spans = [web(), span(CALL, ROOT, "CLIENT", service="web", attributes=STOCK)]
    spans.append(span(CHARGE, CALL, service="stock"))
    logs = [canonical(ROOT, "web", 200, ""), canonical(CHARGE, "stock", 200, "")]
    assert learn(spans, logs) == (KnownSenders(), 0)


def test_what_cannot_be_queried_is_not_known() -> None:
    """A store that does not answer makes nothing missing, and hides nothing else."""
    spans = [web(), call_of_web(**STOCK)]
    known, query_count = learn(spans, available=False)
    assert (known, query_count) == (KnownSenders(), 1)


def test_lookups_are_bounded() -> None:
    """A trace of a hundred services that lack something takes a few queries."""
    spans = [web()]
    for number in range(100):
        attributes = {"url.full": f"http://10.0.0.{number}:80/", "peer.service": f"s{number}"}
        call_id = f"call{number}"
        spans.append(span(call_id, ROOT, "CLIENT", service=f"c{number}", attributes=attributes))
        spans.append(span(f"served{number}", ROOT, service=f"c{number}"))
    _, query_count = learn(spans)
    assert query_count <= 4 * MAX_LOOKUPS
