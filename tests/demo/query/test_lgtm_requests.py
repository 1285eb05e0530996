"""Tests of the TraceQL query for a search, and of the reading of Tempo's response."""

import asyncio
from typing import Any

import pytest

from three_pillar_demo.query.interface import RequestFilter
from three_pillar_demo.query.lgtm_requests import IS_REQUEST, search_requests, traceql


@pytest.mark.parametrize(
    ("wanted", "conditions"),
    [
        (RequestFilter(), ""),
        (
            RequestFilter('a "b"', failed=True, slower_than=0.25),
            r' && resource.service.name="a \"b\"" && status=error && duration>250000us',
        ),
        (
            RequestFilter(text="a.b"),
            r' && (name=~"(?i).*a\\.b.*" || statusMessage=~"(?i).*a\\.b.*")',
        ),
        (
            RequestFilter(attributes=(("card.network", "visa"),)),
            ' && (span."card.network"="visa" || resource."card.network"="visa")',
        ),
        (
            RequestFilter(attributes=(("code", "500"),)),
            (
                ' && (span."code"="500" || span."code"=500 || resource."code"="500"'
                ' || resource."code"=500)'
            ),
        ),
    ],
)
def test_conditions_are_written_in_traceql(wanted: RequestFilter, conditions: str) -> None:
    """Each condition becomes one of TraceQL, with all texts quoted."""
    assert traceql(wanted) == f"{{ {IS_REQUEST}{conditions} }}"


def test_the_services_of_a_trace_are_read() -> None:
    """The services come from the statistics of the trace, and a request that is too new is left."""

    class Tempo:
        async def search(self, *_: object) -> list[dict[str, Any]]:
            spans = [
                {"spanID": f"{number}", "startTimeUnixNano": f"{number}", "durationNanos": "1"}
                for number in (1, 5)
            ]
            statistics = {"web": {"spanCount": 3}, "stock": {"spanCount": 1, "errorCount": 1}}
            return [
                {"traceID": "ab", "spanSets": [{"spans": spans}], "serviceStats": statistics},
                {"traceID": "cd", "spanSets": [{"spans": spans[:1]}]},
            ]

    found = asyncio.run(search_requests(Tempo(), 0, 1, RequestFilter(ended_before=6), 50))
    assert [(request.span.trace_id[-2:], request.services) for request in found] == [
        ("ab", ("stock", "web")),
        ("cd", ()),
    ]


def found_span(number: int, **attributes: str) -> dict[str, Any]:
    """Return a span of a response of Tempo's search, with these selected attributes."""
    said = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    return {
        "spanID": f"{number}",
        "startTimeUnixNano": f"{number * 10**9}",
        "durationNanos": "1",
        "attributes": said,
    }


def test_the_failed_spans_of_a_trace_say_why() -> None:
    """The reason is that of the failed span that started last, and not before the request."""
    request = found_span(2, kind="server", status="error", statusMessage="")
    before = found_span(1, status="error", statusMessage="of another request")
    first = found_span(3, status="error", statusMessage="first")
    last = found_span(4, status="error", statusMessage="last")
    last["attributes"] += [
        {"key": "exception.type", "value": {"stringValue": "shop.stock.Away"}},
        {"key": "exception.message", "value": {"stringValue": "no database"}},
    ]
    silent = found_span(5, status="error", statusMessage="")
    fine = found_span(6, kind="server", status="unset")
    searches: list[tuple[object, ...]] = []

    class Tempo:
        async def search(self, *arguments: object) -> list[dict[str, Any]]:
            searches.append(arguments)
            if len(searches) == 1:
                return [
                    {"traceID": "ab", "spanSets": [{"spans": [request]}]},
                    {"traceID": "cd", "spanSets": [{"spans": [fine]}]},
                    {"traceID": "ef", "spanSets": [{"spans": [silent]}]},
                ]
            spans = [silent, last, before, first, request]
            return [
                {"traceID": "ab", "spanSets": [{"spans": spans}]},
                {"traceID": "ef", "spanSets": [{"spans": [before, silent]}]},
            ]

    found = asyncio.run(search_requests(Tempo(), 0, 9, RequestFilter(), 50))
    assert [(request.span.span_id[-1], request.failure) for request in found] == [
        ("6", ""),
        ("5", ""),
        ("2", "Away: no database"),
    ]
    query, start, _, limit, _ = searches[1]
    assert f'trace:id="{"ab".zfill(32)}"' in str(query)
    assert (start, limit) == (2.0, 2)


def test_nothing_is_searched_for_requests_without_failure() -> None:
    """Where no request has failed, one query of Tempo is enough."""

    class Tempo:
        searches = 0

        async def search(self, *_: object) -> list[dict[str, Any]]:
            self.searches += 1
            return [{"traceID": "ab", "spanSets": [{"spans": [found_span(1, status="ok")]}]}]

    tempo = Tempo()
    asyncio.run(search_requests(tempo, 0, 9, RequestFilter(), 50))
    assert tempo.searches == 1


def test_older_requests_are_found_behind_newer_ones() -> None:
    """The search ends where the wanted requests do, and goes on while it finds only newer ones."""
    searches: list[tuple[float, int]] = []

    class Tempo:
        async def search(
            self, _query: str, _start: float, end: float, limit: int, _spans: int
        ) -> list[dict[str, Any]]:
            searches.append((end, limit))
            newest_first = [
                {"traceID": f"{number}", "spanSets": [{"spans": [found_span(number)]}]}
                for number in range(9, 0, -1)
            ]
            return newest_first[:limit]

    wanted = RequestFilter(ended_before=5 * 10**9)
    found = asyncio.run(search_requests(Tempo(), 0, 9, wanted, 2))
    assert [request.span.trace_id[-1] for request in found] == ["4", "3"]
    assert searches == [(5.0, 2), (5.0, 8)]
