"""Tests of the TraceQL query for the peers of a request, and of the reading of Tempo's response."""

import asyncio
from typing import Any

from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.lgtm_peers import peer_facts, traceql
from three_pillar_demo.query.peers import Fact, PeerQuery

WANTED = PeerQuery(
    "ab".zfill(32),
    'a "b"',
    "GET /",
    "SERVER",
    time=1000 * NANO,
    within=900 * NANO,
    failed=True,
    names=("card.network", "service.version"),
    limit=2,
)


def test_the_query_has_the_request_and_what_is_below_it() -> None:
    """A peer is found alone and with the spans below it, with exactly the wanted attributes."""
    request = r'{ resource.service.name="a \"b\"" && name="GET /" && status=error && kind=server }'
    assert traceql(WANTED) == (
        f"({request} || ({request} &>> {{ true }})) | select(resource.service.name, "
        'span."card.network", span."service.version", resource."service.version") '
        "with (most_recent=true)"
    )


def test_conditions_are_written_in_traceql() -> None:
    """Successes, durations and an unknown kind are written as TraceQL knows them."""
    wanted = PeerQuery(
        *("x", "web", "n", "99"),
        time=0,
        within=0,
        failed=False,
        names=(),
        whole_tree=False,
        min_duration=5,
        max_duration=7,
    )
    assert traceql(wanted) == (
        '{ resource.service.name="web" && name="n" && status!=error && duration>=5ns '
        "&& duration<7ns } | select(resource.service.name) with (most_recent=true)"
    )


def attribute(key: str, **value: object) -> dict[str, Any]:
    """Return an attribute in Tempo's JSON."""
    return {"key": key, "value": value}


def test_what_spans_say_is_read() -> None:
    """Absent attributes, the own trace, traces that are cut and those beyond the limit are left."""
    version = attribute("service.version", stringValue="1")
    web = [
        attribute("service.name", stringValue="web"),
        attribute("card.network", stringValue="visa"),
        attribute("service.version", stringValue="nil"),
        version,
        attribute("other", stringValue="x"),
    ]
    stock = [
        version,
        attribute("service.name", stringValue="stock"),
        attribute("service.version", stringValue="nil"),
        attribute("card.network", intValue="7"),
    ]

    class Tempo:
        def __init__(self) -> None:
            self.asked: tuple[object, ...] = ()

        async def search(self, *asked: object) -> list[dict[str, Any]]:
            self.asked = asked
            spans = [{"attributes": web}, {"attributes": stock}]
            whole = {"spanSets": [{"spans": spans, "matched": 2}]}
            cut = {"spanSets": [{"spans": spans, "matched": 101}]}
            return [
                {"traceID": "ab", **whole},
                {"traceID": "1", **cut},
                {"traceID": "2", **whole},
                {"traceID": "3", "spanSets": [{"spans": [{}], "matched": 1}]},
                {"traceID": "4", **whole},
            ]

    tempo = Tempo()
    found = asyncio.run(peer_facts(tempo, WANTED))
    assert found == [
        {
            Fact("web", "card.network", "visa"),
            Fact("web", "service.version", "1"),
            Fact("stock", "card.network", "7"),
            Fact("stock", "service.version", "1"),
        },
        set(),
    ]
    assert tempo.asked == (traceql(WANTED), 100, 1900, 3, 100)
