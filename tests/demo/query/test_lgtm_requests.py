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
