"""Tests for the comparison of a request with those beside it: which, with what, and how many."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, slow, span
from three_pillar_demo.query.interface import NANO, Backends, Span
from three_pillar_demo.query.peers import MAX_TREE_SPANS, Fact, Facts, PeerQuery
from three_pillar_demo.trace_view.comparison import (
    MAX_NAMES,
    WITHIN_S,
    Comparison,
    compare,
    compared_request,
)
from three_pillar_demo.trace_view.view import TraceView

VISA = Fact("checkout", "card.network", "visa")
MASTERCARD = Fact("checkout", "card.network", "mastercard")


class Peers:
    """Backends that know only the peers of a request, and keep the questions."""

    def __init__(self, group: list[Facts], others: list[Facts]) -> None:
        """Answer the first question of a comparison with ``group``, the second with ``others``."""
        self.answers = [group, others]
        self.asked: list[PeerQuery] = []

    async def peer_facts(self, wanted: PeerQuery) -> list[Facts]:
        """Answer one question."""
        self.asked.append(wanted)
        return self.answers[len(self.asked) - 1]


def requests(count: int, *facts: Fact) -> list[Facts]:
    """Return ``count`` requests that say the same."""
    return [frozenset(facts) for _ in range(count)]


def view_of(*spans: Span) -> TraceView:
    """Return a trace that has only spans."""
    return TraceView(TRACE, list(spans), [], [])


def compared(view: TraceView, peers: Peers) -> Comparison:
    """Return the comparison of the request of ``view`` with ``peers``."""
    comparison = asyncio.run(compare(cast("Backends", peers), view))
    assert comparison
    return comparison


def failed_visa() -> TraceView:
    """Return a failed request whose second span has an attribute that explains it."""
    return view_of(
        span(ROOT, "", error=True, attributes={"http.response.status_code": 500, "port": 1234}),
        span(
            ORDER, ROOT, "INTERNAL", attributes={"card.network": "visa", "error.type": "Declined"}
        ),
    )


def test_a_failure_is_compared_with_successes() -> None:
    """An attribute of a span below the request is found; the request itself counts as failed."""
    peers = Peers(requests(8, VISA), requests(12, VISA) + requests(128, MASTERCARD))
    comparison = compared(failed_visa(), peers)
    assert (comparison.group_size, comparison.others_size) == (9, 140)
    (difference,) = comparison.differences
    assert (difference.facts, difference.in_group, difference.in_others) == ((VISA,), 9, 12)
    assert comparison.is_worth_showing


def test_the_question_names_the_request() -> None:
    """Both questions are about the same service, name, kind and time; how it ended is not asked."""
    peers = Peers([], [])
    request = failed_visa().spans[0]
    compared(failed_visa(), peers)
    failed, successful = peers.asked
    assert (failed.failed, successful.failed) == (True, False)
    for asked in peers.asked:
        assert asked.trace_id == TRACE
        assert (asked.service, asked.name, asked.kind) == ("checkout", "POST /checkout", "SERVER")
        assert (asked.time, asked.within) == (request.start, WITHIN_S * NANO)
        assert asked.whole_tree
        assert asked.min_duration == 0
        assert {"card.network", "port", "service.version"} <= set(asked.names)
        assert not {"http.response.status_code", "error.type"} & set(asked.names)


@pytest.mark.parametrize(
    ("breaks_s", "since_s", "until_s"),
    [
        ((), None, None),
        ((-100, -40, 30, 60), -40, 30),
        ((-40,), -40, None),
        ((0,), 0, None),
        ((30,), None, 30),
        ((-WITHIN_S - 1, WITHIN_S + 1), None, None),
    ],
)
def test_nothing_beyond_a_break_is_compared(
    breaks_s: tuple[float, ...], since_s: float | None, until_s: float | None
) -> None:
    """Only requests between the nearest breaks before and after the request are asked for."""
    peers = Peers([], [])
    view = failed_visa()
    start = view.spans[0].start
    breaks = [start / NANO + seconds for seconds in breaks_s]
    comparison = asyncio.run(compare(cast("Backends", peers), view, breaks))
    assert comparison
    limits = [None if limit is None else start / NANO + limit for limit in (since_s, until_s)]
    assert comparison.breaks == pytest.approx([limit for limit in limits if limit is not None])
    for asked in peers.asked:
        assert asked.start == pytest.approx(
            int((limits[0] or start / NANO - WITHIN_S) * NANO), abs=2000
        )
        assert asked.end == pytest.approx(
            int((limits[1] or start / NANO + WITHIN_S) * NANO), abs=2000
        )


@pytest.mark.parametrize(
    ("name", "is_asked"),
    [
        ("order.outcome", False),
        ("rpc.grpc.status_code", False),
        ("exception.type", False),
        ("http.response.body.size", False),
        ("payment.result", False),
        ("messaging.message.id", True),
        ("terror.level", True),
        ("http.request.method", True),
        ("client.port", False),
        ("network.peer.port", False),
        ("net.peer.port", False),
        ("net.sock.peer.port", False),
        ("server.port", True),
        ("client.address", True),
    ],
)
def test_only_possible_causes_are_compared(name: str, *, is_asked: bool) -> None:
    """What says that a request failed, or which port its connection got, is left out."""
    peers = Peers([], [])
    compared(view_of(span(ROOT, "", error=True, attributes={name: "x"})), peers)
    assert (name in peers.asked[0].names) == is_asked


@pytest.mark.parametrize(
    ("group", "others", "is_possible"), [(1, 140, False), (2, 140, True), (8, 9, False)]
)
def test_too_few_requests_are_not_compared(group: int, others: int, *, is_possible: bool) -> None:
    """It takes three failed requests, this one included, and ten others; else nothing is found."""
    peers = Peers(requests(group, VISA), requests(others, MASTERCARD))
    comparison = compared(failed_visa(), peers)
    assert comparison.is_possible == is_possible
    assert bool(comparison.differences) == is_possible
    assert comparison.is_worth_showing


@pytest.mark.parametrize(
    ("group", "others", "is_shown"), [(8, 100, True), (100, 20, False), (1, 100, False)]
)
def test_a_slow_request_is_compared_with_faster_ones(
    group: int, others: int, *, is_shown: bool
) -> None:
    """A successful request is slow if most are faster than half of it; else nothing is shown."""
    peers = Peers(requests(group, VISA), requests(others, MASTERCARD))
    view = view_of(span(ROOT, "", took=100, attributes={"card.network": "visa"}))
    comparison = compared(view, peers)
    slow_peers, faster = peers.asked
    half = 50_000_000
    assert (slow_peers.failed, slow_peers.min_duration) == (False, half)
    assert (faster.failed, faster.min_duration, faster.max_duration) == (False, 0, half)
    assert comparison.is_worth_showing == is_shown


def test_a_large_request_is_compared_by_its_own_span() -> None:
    """Of a request with too many spans only its own span is compared, and is asked for."""
    below = [
        span(f"{number:016x}", ROOT, "INTERNAL", attributes={f"a{number}": 1})
        for number in range(MAX_TREE_SPANS)
    ]
    peers = Peers([], [])
    root = span(ROOT, "", error=True, attributes={"card.network": "visa"})
    comparison = compared(view_of(root, *below), peers)
    assert not comparison.whole_tree
    assert not peers.asked[0].whole_tree
    assert "a1" not in peers.asked[0].names
    assert "card.network" in peers.asked[0].names


def test_very_many_attributes_are_not_all_compared() -> None:
    """Of thousands of attribute names those of the request's own span come first."""
    many = {f"n{number}": "x" for number in range(5000)}
    peers = Peers([], [])
    root = span(ROOT, "", error=True, attributes={"own": 1})
    compared(view_of(root, span(ORDER, ROOT, "INTERNAL", attributes=many)), peers)
    assert peers.asked[0].names[0] == "own"
    assert MAX_NAMES <= len(peers.asked[0].names) < MAX_NAMES + 20


def test_the_compared_request_is_the_topmost_failed_one() -> None:
    """Of several failed requests the one nearest to the root is compared, however late it began."""
    view = view_of(
        span(ROOT, ""),
        span(ORDER, ROOT, "INTERNAL", error=True),
        span(CALL, ORDER, "CLIENT", error=True),
        span(CHARGE, CALL, service="payment", error=True),
        span("other", ROOT, "CONSUMER", at=50, service="mail", error=True),
    )
    request = compared_request(view)
    assert request
    assert request.span_id == "other"
    first = compared_request(view_of(*(replace(item, error=False) for item in view.spans)))
    assert first
    assert first.span_id == ROOT
    assert compared_request(slow()) == slow().spans[0]


def test_a_trace_without_spans_is_not_compared() -> None:
    """Log records alone have no request that could be compared."""
    peers = Peers([], [])
    assert asyncio.run(compare(cast("Backends", peers), view_of())) is None
    assert peers.asked == []


def test_only_what_is_below_the_request_is_compared() -> None:
    """What the callers of the failed request say is not its own."""
    view = view_of(
        span(ROOT, "", attributes={"of.caller": 1}),
        span(CHARGE, ROOT, service="payment", error=True, attributes={"of.request": 1}),
        span("after", ROOT, "INTERNAL", attributes={"of.sibling": 1}),
    )
    peers = Peers([], [])
    compared(view, peers)
    assert "of.request" in peers.asked[0].names
    assert not {"of.caller", "of.sibling"} & set(peers.asked[0].names)
