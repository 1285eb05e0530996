"""The verdict on a rehearsal: a pure function of what was seen and what was promised."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from three_pillar_demo.chaos.judge import Expectation, Observation, Verdict, judge
from three_pillar_demo.chaos.plan import REHEARSALS

WELL = Observation(
    "a rehearsal",
    made=300,
    whole=300,
    away=20.0,
    drained=2.0,
    steady_p99=0.49,
    broken_p99=0.50,
    steady_mib=150,
    most_mib=160,
)


def test_all_is_well() -> None:
    """What is whole, drained, unfelt and bounded passes."""
    assert judge(WELL, Expectation()) == Verdict([], [])
    assert judge(WELL, Expectation()).passed


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"made": 0}, "nobody bought anything"),
        ({"lost": Counter(spans=4, lines=2)}, "4 spans lost"),
        ({"lost": Counter(counts=1)}, "1 counts lost"),
        ({"twice": Counter(lines=1)}, "1 lines twice"),
        ({"drained": None}, "not drained 60 s after it was restored"),
        ({"drained": 61.0}, "not drained 60 s after it was restored"),
        ({"errors": 1}, "customers: 1 errors"),
        ({"begun_unanswered": 1}, "customers: 1 requests under way were not answered"),
        ({"most_mib": 215}, "services grew by 65 MiB, over 64"),
        (
            {"ended": "the whole stack has stopped meanwhile"},
            "not played to its end: the whole stack has stopped meanwhile",
        ),
        ({"manners": ["3 batches sent again after a 400"]}, "3 batches sent again after a 400"),
    ],
)
def test_each_broken_promise_is_named(seen: dict[str, object], said: str) -> None:
    """One thing that is not as promised fails the rehearsal, with the figure in the sentence."""
    verdict = judge(replace(WELL, **seen), Expectation())  # type: ignore[arg-type]
    assert said in verdict.wrong
    assert not verdict.passed


@pytest.mark.parametrize("broken", [0.57, math.nan])
def test_customers_who_wait_longer_are_slow_and_not_wrong(broken: float) -> None:
    """A p99 over 1.15 of steady, or none at all, fails apart from what is wrong: a busy machine may be the reason."""
    verdict = judge(replace(WELL, broken_p99=broken), Expectation())
    assert verdict.wrong == []
    assert len(verdict.slow) == 1
    assert not verdict.passed
    assert judge(replace(WELL, broken_p99=broken), Expectation(unfelt=False)).passed


@pytest.mark.parametrize(
    ("exits", "passed"), [([], False), ([0.5, 4.9], True), ([0.5, 5.1], False)]
)
def test_each_stop_has_its_limit(exits: list[float], passed: bool) -> None:  # noqa: FBT001  (a row of the table)
    """Where stops were promised the slowest counts, and that there was one."""
    assert judge(replace(WELL, exits=exits), Expectation(exits=5.0)).passed == passed


def test_a_clear_state_was_promised() -> None:
    """A full disk that nobody speaks of fails."""
    assert judge(WELL, Expectation(state=True)).wrong == ["no clear state while it was broken"]
    assert judge(replace(WELL, states=["embedded answers 503"]), Expectation(state=True)).passed


@pytest.mark.parametrize(
    ("lost", "dropped", "told", "wrong"),
    [
        (Counter(), Counter(), False, []),
        (Counter(spans=40, lines=20), Counter(spans=40, lines=20), True, []),
        (
            Counter(spans=40),
            Counter(spans=40),
            False,
            ["no log line says that something was dropped"],
        ),
        (Counter(spans=40), Counter(spans=39), True, ["40 spans lost, 39 counted as dropped"]),
        (Counter(), Counter(spans=4), True, ["0 spans lost, 4 counted as dropped"]),
        (Counter(counts=1), Counter(), True, ["1 counts lost, 0 counted as dropped"]),
    ],
)
def test_what_is_lost_may_be_counted(
    lost: Counter[str], dropped: Counter[str], told: bool, wrong: list[str]
) -> None:
    """Where that was promised, emitted is stored plus counted drops to the last one, by signal, and a line says so."""
    assert (
        judge(
            replace(WELL, lost=lost, dropped=dropped, dropped_told=told),
            Expectation(lost="counted"),
        ).wrong
        == wrong
    )


def test_without_a_receiver_nothing_can_be_stored() -> None:
    """Where nobody takes telemetry, only the customers and the stops are judged."""
    alone = replace(WELL, lost=Counter(spans=9), drained=None, exits=[4.2])
    assert judge(alone, Expectation(stored=False, drain=None, exits=10.0)).passed


def test_what_cannot_be_played_is_not_judged() -> None:
    """A rehearsal that this machine cannot have is skipped with its reason, neither passed off as well nor failed."""
    assert judge(
        Observation("disk-full", skipped="mounting is not permitted"), Expectation(state=True)
    ) == Verdict([], [])


def test_every_rehearsal_says_what_it_breaks() -> None:
    """Names are unique, forms are bounded, and what has a short form is shorter in it."""
    assert len({each.name for each in REHEARSALS}) == len(REHEARSALS)
    for each in REHEARSALS:
        assert each.what
        assert 0 <= each.short <= each.long <= 300
