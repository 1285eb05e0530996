"""Tests that what arrives in Tempo and Loki is returned once, by queries of overlapping ranges.

The servers of these tests answer in the shapes of Tempo's and Loki's HTTP APIs.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import httpx2
import pytest

from three_pillar_demo.query import lgtm_arrivals
from three_pillar_demo.query.interface import NANO, Arrival, Arrivals, Selection, Span
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.severity import logql_filter

TRACE_ID = "f" * 31


class Servers:
    """Tempo's search and Loki's range query, over the spans and log records of a test."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.records: list[tuple[int, str]] = []
        self.queries: list[str] = []
        self.is_down = False

    def add_span(
        self, name: str, age_s: float = 1.0, attributes: dict[str, str] | None = None
    ) -> None:
        """Store a span that took a second and ended ``age_s`` seconds ago."""
        values = {"service.name": "web", "kind": "server", "status": "unset"} | (attributes or {})
        self.spans.append(
            {
                "spanID": f"{len(self.spans) + 1:x}",
                "name": name,
                "startTimeUnixNano": str(time.time_ns() - int((age_s + 1) * NANO)),
                "durationNanos": str(NANO),
                "attributes": [
                    {"key": key, "value": {"stringValue": value}} for key, value in values.items()
                ],
            }
        )

    def add_record(self, body: str, age_s: float = 1.0) -> None:
        """Store a log record that was written ``age_s`` seconds ago."""
        self.records.append((time.time_ns() - int(age_s * NANO), body))

    def respond(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of either server."""
        if self.is_down:
            return httpx2.Response(503, text="starting")
        params = request.url.params
        if request.url.path == "/api/search":
            self.queries.append(params["q"])
            return httpx2.Response(200, json={"traces": self._traces()})
        assert request.url.path == "/loki/api/v1/query_range"
        self.queries.append(params["query"])
        start = int(params["start"])
        end = int(params["end"])
        in_range = sorted(record for record in self.records if start <= record[0] < end)
        if params["direction"] == "backward":
            in_range.reverse()
        values = [[str(at), body] for at, body in in_range[: int(params["limit"])]]
        stream = {"service_name": "web", "severity_text": "INFO"}
        return httpx2.Response(
            200, json={"data": {"result": [{"stream": stream, "values": values}]}}
        )

    def _traces(self) -> list[dict[str, Any]]:
        # Tempo leaves out the zeros at the beginning of an id.
        start = self.spans[0]["startTimeUnixNano"] if self.spans else "0"
        trace = {"traceID": TRACE_ID, "startTimeUnixNano": start, "durationMs": 1}
        return [trace | {"spanSets": [{"spans": self.spans, "matched": len(self.spans)}]}]


@pytest.fixture
def servers() -> Servers:
    """Tempo and Loki without any data."""
    return Servers()


def run(servers: Servers, use: Callable[[Arrivals], Coroutine[Any, Any, None]]) -> None:
    """Call ``use`` with the arrivals of all services in ``servers``."""

    async def run_use() -> None:
        async with LgtmBackends(httpx2.MockTransport(servers.respond)) as backends:
            await use(backends.arrivals(Selection()))

    asyncio.run(run_use())


def names(arrivals: list[Arrival]) -> list[str]:
    """Return the names of requests and the bodies of log records."""
    return [item.name if isinstance(item, Span) else item.body for item in arrivals]


def test_each_request_and_record_arrives_once(servers: Servers) -> None:
    """Ranges of successive polls overlap, and still nothing is returned twice."""
    servers.add_span("before")
    servers.add_record("record before")

    async def use(arrivals: Arrivals) -> None:
        assert await arrivals.begin(0) == []
        servers.add_span("new", 0.1)
        servers.add_record("new record", 0.2)
        assert names(await arrivals.poll()) == ["new record", "new"]
        assert await arrivals.poll() == []

    run(servers, use)


def test_records_up_to_a_minute_late_are_not_missed(servers: Servers) -> None:
    """A record that arrives within a minute of its time is returned, and a later one is not."""

    async def use(arrivals: Arrivals) -> None:
        await arrivals.begin(0)
        servers.add_span("new", 0.1)
        assert names(await arrivals.poll()) == ["new"]
        servers.add_span("late", 40)
        servers.add_record("late record", 50)
        servers.add_span("too late", 90)
        servers.add_record("too late record", 90)
        assert names(await arrivals.poll()) == ["late record", "late"]

    run(servers, use)


def test_history_is_the_newest_in_order(servers: Servers) -> None:
    """The history has the newest requests and records, oldest first, and counts as returned."""
    for age_s in (600, 300, 10):
        servers.add_span(f"request {age_s}", age_s)
        servers.add_record(f"record {age_s}", age_s + 1)

    async def use(arrivals: Arrivals) -> None:
        assert names(await arrivals.begin(3)) == ["request 300", "record 10", "request 10"]
        assert await arrivals.poll() == []

    run(servers, use)


def test_a_failed_poll_misses_nothing(servers: Servers) -> None:
    """What arrived while a backend did not answer is returned by the next poll that succeeds."""

    async def use(arrivals: Arrivals) -> None:
        await arrivals.begin(0)
        servers.add_span("during the outage", 5)
        servers.is_down = True
        with pytest.raises(Exception, match="503"):
            await arrivals.poll()
        servers.is_down = False
        assert names(await arrivals.poll()) == ["during the outage"]

    run(servers, use)


def test_more_records_than_one_answer_holds_are_read_on(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Loki's answer is full, the poll says so, and the following ones return the rest."""
    monkeypatch.setattr(lgtm_arrivals, "MAX_LOGS", 3)

    async def use(arrivals: Arrivals) -> None:
        await arrivals.begin(0)
        for number in range(5):
            servers.add_record(f"record {number}", 9 - number)
        first = await arrivals.poll()
        assert arrivals.is_behind
        second = await arrivals.poll()
        assert names([*first, *second]) == [f"record {number}" for number in range(5)]
        while arrivals.is_behind:
            assert await arrivals.poll() == []

    run(servers, use)


def test_a_span_is_converted(servers: Servers) -> None:
    """Service, kind, status and HTTP status come from the attributes that Tempo selects."""
    attributes = {
        "kind": "consumer",
        "status": "error",
        "statusMessage": "boom",
        "http.response.status_code": "500",
    }
    servers.add_span("GET /", attributes=attributes)

    async def use(arrivals: Arrivals) -> None:
        [found] = await arrivals.begin(1)
        assert isinstance(found, Span)
        assert found.trace_id == "0" + TRACE_ID
        assert found.span_id == "0000000000000001"
        assert (found.service, found.kind, found.error) == ("web", "CONSUMER", True)
        assert found.message == "boom"
        assert found.end - found.start == NANO
        assert found.attributes == {"http.response.status_code": "500"}

    run(servers, use)


def test_a_selection_becomes_conditions(servers: Servers) -> None:
    """The name of a service is quoted in both query languages, and ``failed`` is a condition."""

    async def use() -> None:
        async with LgtmBackends(httpx2.MockTransport(servers.respond)) as backends:
            await backends.arrivals(Selection('a "b"', failed=True)).begin(0)

    asyncio.run(use())
    traceql, logql = sorted(servers.queries, key=lambda query: "severity_text" in query)
    assert r'resource.service.name="a \"b\""' in traceql
    assert "status=error" in traceql
    assert logql == rf'{{service_name="a \"b\""}} | {logql_filter("ERROR")}'


@pytest.mark.parametrize(
    ("name", "written"),
    [("\U0001f600 shop", "\U0001f600 shop"), ("shop\udcff", "shop" + 3 * "\ufffd")],
    ids=["emoji", "not UTF-8"],
)
def test_a_name_with_any_characters_is_queried(servers: Servers, name: str, written: str) -> None:
    """A name with an emoji, or a byte that is not UTF-8, is written as the backends read it."""

    async def use() -> None:
        async with LgtmBackends(httpx2.MockTransport(servers.respond)) as backends:
            await backends.arrivals(Selection(name)).begin(0)

    asyncio.run(use())
    assert len(servers.queries) >= 2
    assert all(f'="{written}"' in query for query in servers.queries)


def test_attributes_that_a_span_does_not_have_are_left_out(servers: Servers) -> None:
    """Tempo gives the text ``nil`` for a selected attribute that is absent."""
    statuses = {"http.response.status_code": "nil", "http.status_code": "500"}
    servers.add_span("GET /", attributes={**statuses, "error.type": "nil"})

    async def use(arrivals: Arrivals) -> None:
        [found] = await arrivals.begin(1)
        assert isinstance(found, Span)
        assert found.attributes == {"http.status_code": "500"}

    run(servers, use)


def test_an_unusual_span_ends_no_poll(servers: Servers) -> None:
    """A span without name and start, of an unknown kind, or that ends before its start arrives."""
    servers.add_span("unknown kind", attributes={"kind": "kind(99)"})
    servers.add_span("ends early")
    servers.spans[-1]["durationNanos"] = str(2**64 - NANO)
    servers.add_span("")
    unnamed = servers.spans[-1]
    unnamed["durationNanos"] = unnamed.pop("startTimeUnixNano")
    del unnamed["name"]

    async def use(arrivals: Arrivals) -> None:
        found = {item.name: item for item in await arrivals.begin(10) if isinstance(item, Span)}
        assert set(found) == {"unknown kind", "ends early", ""}
        assert found["unknown kind"].kind == "99"
        assert found["ends early"].end == found["ends early"].start - NANO
        assert found[""].start == 0

    run(servers, use)
