"""Tests of the queries for instruments with the answers of Prometheus, but without Prometheus."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from three_pillar_demo.query.instruments import (
    COUNTER,
    EXPONENTIAL_HISTOGRAM,
    GAUGE,
    HISTOGRAM,
    SUMMARY,
    InstrumentQuery,
)
from three_pillar_demo.query.lgtm import LgtmBackends

END = 1_767_225_600.0
NAMES = (
    "orders_total",
    "http_seconds_bucket",
    "http_seconds_count",
    "http_seconds_sum",
    "gc_seconds",
    "gc_seconds_count",
    "gc_seconds_sum",
    "body_bytes",
    "lonely_count",
    "cpu_utilization_ratio",
    "target_info",
)


class FakePrometheus:
    """Answers each query as ``answer`` says, and keeps the queries."""

    def __init__(self, answer: Callable[[httpx2.Request], Any]) -> None:
        """Hold no queries."""
        self.answer = answer
        self.queries: list[str] = []

    def run(self, query: Callable[[LgtmBackends], Awaitable[Any]]) -> Any:  # noqa: ANN401  (a different type for each query)
        """Return the result of a query with these answers."""

        def respond(request: httpx2.Request) -> httpx2.Response:
            self.queries.append(request.url.params.get("query", ""))
            return httpx2.Response(200, json={"status": "success", "data": self.answer(request)})

        async def run() -> Any:  # noqa: ANN401  (as above)
            async with LgtmBackends(httpx2.MockTransport(respond)) as backends:
                return await query(backends)

        return asyncio.run(run())


def vector(*samples: tuple[dict[str, str], str]) -> dict[str, Any]:
    """Return the answer to an instant query: the labels and the value of each series."""
    return {
        "resultType": "vector",
        "result": [{"metric": labels, "value": [END, value]} for labels, value in samples],
    }


def named(request: httpx2.Request) -> dict[str, Any]:
    """Answer with the series of ``NAMES``, of which one is a native histogram."""
    if "histogram_count" in request.url.params["query"]:
        return vector(({"metric": "body_bytes"}, "1"))
    return vector(*(({"__name__": name, "service_name": "shop"}, "2") for name in NAMES))


def test_the_kind_and_the_unit_are_told_by_the_names() -> None:
    """Several series make one histogram or summary; a name tells a counter, and often the unit."""
    found = FakePrometheus(named).run(lambda backends: backends.instruments(END - 300, END))
    assert [(one.name, one.kind, one.unit) for one in found] == [
        ("body_bytes", EXPONENTIAL_HISTOGRAM, "By"),
        ("cpu_utilization_ratio", GAUGE, "1"),
        ("gc_seconds", SUMMARY, "s"),
        ("http_seconds", HISTOGRAM, "s"),
        ("lonely_count", GAUGE, ""),
        ("orders_total", COUNTER, ""),
    ]
    assert {(one.services, one.series) for one in found} == {(("shop",), 2)}


@pytest.mark.parametrize("kind", [COUNTER, GAUGE, HISTOGRAM, EXPONENTIAL_HISTOGRAM, SUMMARY])
def test_any_name_is_quoted(kind: str) -> None:
    """A name, a service and a label of any characters are texts in every query, never PromQL."""
    hostile = 'a"} or vector(1) # \\ \n'
    wanted = InstrumentQuery(hostile, kind, END - 60, END, service=hostile, by=hostile)

    def matrix_or_vector(request: httpx2.Request) -> Any:  # noqa: ANN401  (any JSON value)
        if request.url.path.endswith("query_range"):
            return {"resultType": "matrix", "result": []}
        return [] if "match[]" in request.url.params else vector(({}, "1"))

    prometheus = FakePrometheus(matrix_or_vector)
    prometheus.run(lambda backends: backends.instrument_series(wanted))
    queries = [query for query in prometheus.queries if query]
    assert len(queries) >= 5
    for query in queries:
        assert "\n" not in query
        assert 'a"' not in query
        assert r'"a\"} or vector(1) # \\ \n' in query


def test_what_is_no_number_is_a_gap() -> None:
    """NaN and infinity, which Prometheus stores, are no values."""

    def answer(request: httpx2.Request) -> Any:  # noqa: ANN401  (any JSON value)
        if request.url.path.endswith("query_range"):
            values = [[END - 20, "NaN"], [END - 10, "+Inf"], [END, "-1e18"]]
            return {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
        return [] if request.url.path.endswith("series") else vector(({}, "1"))

    wanted = InstrumentQuery("odd", GAUGE, END - 20, END, step=10)
    found = FakePrometheus(answer).run(lambda backends: backends.instrument_series(wanted))
    [group] = found.groups
    assert group.lines[0].values == (None, None, -1e18)
