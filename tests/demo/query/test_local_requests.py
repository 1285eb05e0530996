"""Tests that a search in the local store finds exactly the requests that were asked for."""

import asyncio
import secrets
import time
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tests.demo.local_store.messages import attributes, span, trace_request
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.query import local_requests
from three_pillar_demo.query.interface import NANO, FoundRequest, RequestFilter
from three_pillar_demo.query.local import LocalBackends

CLIENT = OtlpSpan.SPAN_KIND_CLIENT


def search(store: InMemoryStore, limit: int = 50, **wanted: Any) -> list[FoundRequest]:  # noqa: ANN401  (the fields of RequestFilter)
    """Return the requests of the last hour that ``wanted`` describes."""

    async def query() -> list[FoundRequest]:
        now = time.time()
        async with LocalBackends(store.path) as backends:
            return await backends.search_requests(
                now - 3600, now + 60, RequestFilter(**wanted), limit
            )

    return asyncio.run(query())


def names(found: list[FoundRequest]) -> list[str]:
    """Return the names of the requests' spans."""
    return [request.span.name for request in found]


def send(store: InMemoryStore, *spans: OtlpSpan, service: str = "web") -> None:
    """Store ``spans`` of one service."""
    store.send("traces", trace_request(*spans, service=service))


def test_each_condition_narrows_the_search(in_memory_store: InMemoryStore) -> None:
    """Service, failure, duration and the end of a request each select what they say."""
    now = time.time_ns()
    send(in_memory_store, span("GET /fast", start=now - 30 * NANO, seconds=0.01))
    send(in_memory_store, span("GET /slow", start=now - 20 * NANO, seconds=2, error=True))
    send(in_memory_store, span("nightly", start=now - 10 * NANO, kind=1), service="jobs")
    send(in_memory_store, span("no request", kind=CLIENT, parent_span_id=b"parent01"))
    assert names(search(in_memory_store)) == ["nightly", "GET /slow", "GET /fast"]
    assert names(search(in_memory_store, service="web")) == ["GET /slow", "GET /fast"]
    assert names(search(in_memory_store, failed=True)) == ["GET /slow"]
    assert names(search(in_memory_store, slower_than=0.05)) == ["nightly", "GET /slow"]
    assert names(search(in_memory_store, limit=1)) == ["nightly"]
    older = search(in_memory_store, ended_before=now - 18 * NANO)
    assert names(older) == ["GET /fast"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("card.network", "visa", ["one"]),
        ("http.response.status_code", "500", ["one"]),
        ("retried", "true", ["one"]),
        ("ratio", "0.5", ["one"]),
        ('a "quoted" näme\'', "x y", ["one"]),
        ("service.name", "web", ["two", "one"]),
        ("card.network", "vis", []),
        ("card.network", "VISA", []),
        ("card", "visa", []),
        ("retried", "1", []),
    ],
)
def test_requests_are_found_by_an_attribute(
    in_memory_store: InMemoryStore, name: str, value: str, expected: list[str]
) -> None:
    """An attribute of the span or its resource is compared as a whole, whatever its type."""
    values = {
        "card.network": "visa",
        "http.response.status_code": 500,
        "retried": True,
        "ratio": 0.5,
        'a "quoted" näme\'': "x y",
    }
    now = time.time_ns()
    send(in_memory_store, span("one", start=now - 2 * NANO, attributes=attributes(**values)))
    send(in_memory_store, span("two", start=now - NANO, attributes=attributes(other="visa")))
    assert names(search(in_memory_store, attributes=((name, value),))) == expected


def test_all_attributes_must_be_there(in_memory_store: InMemoryStore) -> None:
    """Of several attributes, a request must have every one."""
    send(in_memory_store, span("one", attributes=attributes(a="1", b="2")))
    send(in_memory_store, span("two", attributes=attributes(a="1", b="3")))
    assert names(search(in_memory_store, attributes=(("a", "1"), ("b", "2")))) == ["one"]


@pytest.mark.parametrize("text", ["PRODUCTS", "%", "Failed", "vis"])
def test_requests_are_found_by_a_text(in_memory_store: InMemoryStore, text: str) -> None:
    """A text is found in the name, the status message and the attributes, in any case."""
    send(
        in_memory_store,
        span(
            "GET /Products?100%",
            error=True,
            attributes=attributes(network="VISA"),
        ),
    )
    send(in_memory_store, span("GET /other"))
    assert names(search(in_memory_store, text=text)) == ["GET /Products?100%"]


def test_a_request_has_its_services_and_its_failure(in_memory_store: InMemoryStore) -> None:
    """A request names all services of its trace, and the failure that began last."""
    trace_id = secrets.token_bytes(16)
    now = time.time_ns()
    root = span("POST /checkout", start=now - NANO, seconds=1, error=True, trace_id=trace_id)
    exception = OtlpSpan.Event(
        name="exception",
        attributes=attributes(exception__type="stock.Away", exception__message="no database"),
    )
    cause = span(
        "SELECT",
        start=now - NANO // 2,
        error=True,
        trace_id=trace_id,
        kind=CLIENT,
        parent_span_id=root.span_id,
        events=[exception],
    )
    send(in_memory_store, root, service="web")
    send(in_memory_store, cause, service="stock")
    (found,) = search(in_memory_store)
    assert (found.span.name, found.services) == ("POST /checkout", ("stock", "web"))
    assert found.failure == "Away: no database"


def test_the_search_goes_back_as_far_as_it_needs(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the newest rows have too few requests, more rows are searched, up to the limit."""
    monkeypatch.setattr(local_requests, "ROWS_SCANNED", (2, 4))
    for number in range(6):
        send(in_memory_store, span(f"GET /{number}", error=number in {0, 3}))
    assert names(search(in_memory_store, limit=2)) == ["GET /5", "GET /4"]
    assert names(search(in_memory_store, failed=True)) == ["GET /3"]
