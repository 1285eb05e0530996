"""The verdict on a rehearsal, for observations that differ from the expectation in one way each."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from three_pillar_demo.chaos.answer_watch import Answers
from three_pillar_demo.chaos.judge import Expectation, Observation, Verdict, judge
from three_pillar_demo.chaos.plan import REHEARSALS

GOOD = Observation(
    "a rehearsal",
    purchases=300,
    complete=300,
    fault_s=20.0,
    drained_s=2.0,
    steady_p99_s=0.49,
    fault_p99_s=0.50,
    steady_mib=150,
    peak_mib=160,
)
PARTIAL = "trace a: 3 spans after 4"
DEAD = "an exemplar, but no trace"
LATE = "not drained 60 s after the recovery"


def test_a_good_observation_passes() -> None:
    """An observation without losses, errors, growth or a higher latency passes."""
    assert judge(GOOD, Expectation()) == Verdict([], [])
    assert judge(GOOD, Expectation()).passed


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"purchases": 0}, "no purchase was answered"),
        ({"lost": Counter(spans=4, log_records=2)}, "4 spans lost"),
        ({"lost": Counter(counts=1)}, "1 counts lost"),
        ({"duplicated": Counter(log_records=1)}, "1 log records duplicated"),
        ({"drained_s": None}, "not drained 60 s after the recovery"),
        ({"drained_s": 61.0}, "not drained 60 s after the recovery"),
        ({"errors": 1}, "customers: 1 errors"),
        ({"unanswered": 1}, "customers: 1 requests in flight were not answered"),
        ({"peak_mib": 215}, "services grew by 65 MiB, limit 64"),
        (
            {"aborted": "the whole stack has stopped meanwhile"},
            "ended early: the whole stack has stopped meanwhile",
        ),
        (
            {"otlp_violations": ["3 batches sent again after a 400"]},
            "3 batches sent again after a 400",
        ),
    ],
)
def test_each_problem_is_named(changes: dict[str, object], problem: str) -> None:
    """A single figure that is not as expected fails the rehearsal, and a problem names it."""
    verdict = judge(replace(GOOD, **changes), Expectation())  # type: ignore[arg-type]
    assert problem in verdict.problems
    assert not verdict.passed


@pytest.mark.parametrize("fault_p99_s", [0.57, math.nan])
def test_a_higher_latency_is_slow_and_not_a_problem(fault_p99_s: float) -> None:
    """A p99 over 1.15 of the steady state, or an unknown one, is slow and not a problem."""
    slow = replace(GOOD, fault_p99_s=fault_p99_s)
    verdict = judge(slow, Expectation())
    assert verdict.problems == []
    assert len(verdict.slow) == 1
    assert not verdict.passed
    assert judge(slow, Expectation(latency_unaffected=False)).passed


@pytest.mark.parametrize(
    ("durations", "passed"), [([], False), ([0.5, 4.9], True), ([0.5, 5.1], False)]
)
def test_the_slowest_stop_counts(durations: list[float], passed: bool) -> None:  # noqa: FBT001  (a row of the table)
    """With a limit of 5 s for stops, the slowest must be within it, and one must have happened."""
    observed = replace(GOOD, stop_durations_s=durations)
    assert judge(observed, Expectation(stop_s=5.0)).passed == passed


def test_a_fault_must_be_reported_where_expected() -> None:
    """A rehearsal whose fault must be reported fails if nothing reported it."""
    expected = Expectation(fault_reported=True)
    assert judge(GOOD, expected).problems == ["nothing reported the fault while it lasted"]
    assert judge(replace(GOOD, reports=["store answers 503"]), expected).passed


@pytest.mark.parametrize(
    ("lost", "dropped", "drops_logged", "problems"),
    [
        (Counter(), Counter(), False, []),
        (Counter(spans=40, log_records=20), Counter(spans=40, log_records=20), True, []),
        (Counter(spans=40), Counter(spans=40), False, ["no log record reports the drops"]),
        (Counter(spans=40), Counter(spans=39), True, ["40 spans lost, 39 counted as dropped"]),
        (Counter(), Counter(spans=4), True, ["0 spans lost, 4 counted as dropped"]),
        (Counter(counts=1), Counter(), True, ["1 counts lost, 0 counted as dropped"]),
    ],
)
def test_counted_losses_are_allowed_where_expected(
    lost: Counter[str],
    dropped: Counter[str],
    drops_logged: bool,  # noqa: FBT001  (a row of the table)
    problems: list[str],
) -> None:
    """Losses must equal the counted drops of each kind, and a log record must report them."""
    observed = replace(GOOD, lost=lost, dropped=dropped, drops_logged=drops_logged)
    assert judge(observed, Expectation(loss="counted")).problems == problems


@pytest.mark.parametrize(
    ("answers", "problems"),
    [
        (Answers(whole=9, refused=3), []),
        (
            Answers(whole=9, partial=1, descriptions=["trace a: 3 spans after 4"]),
            ["trace a: 3 spans after 4"],
        ),
        (Answers(refused=3), ["no store has answered a question completely"]),
        (None, ["no store has answered a question completely"]),
    ],
)
def test_a_partial_answer_is_a_problem_and_an_error_is_none(
    answers: Answers | None, problems: list[str]
) -> None:
    """Where answers must be complete, each partial one is named, and some must be there."""
    expected = Expectation(complete_answers=True)
    assert judge(replace(GOOD, answers=answers), expected).problems == problems
    assert judge(replace(GOOD, answers=answers), Expectation()).problems == []


def test_exemplars_must_lead_to_traces_where_expected() -> None:
    """A dead exemplar is named, and so is a rehearsal that has none at all."""
    expected = Expectation(exemplars_resolve=True)
    assert judge(replace(GOOD, exemplars=4), expected).passed
    assert judge(GOOD, expected).problems == ["no exemplar is stored"]
    dead = replace(GOOD, exemplars=4, dead_exemplars=["abc"])
    assert judge(dead, expected).problems == ["abc: an exemplar, but no trace"]


def test_some_duplicates_are_allowed_where_a_process_is_killed() -> None:
    """Up to the limit, spans and log records may be stored twice; a count never may."""
    observed = replace(GOOD, duplicated=Counter(spans=5, log_records=4, counts=1))
    problems = judge(observed, Expectation(duplicates=4)).problems
    assert problems == ["5 spans duplicated", "1 counts duplicated"]


@pytest.mark.parametrize(
    ("lost", "dead", "problems"),
    [
        (Counter(spans=3), ["abc"], []),
        (
            Counter(spans=3),
            ["a", "b", "c", "d"],
            [f"{name}: an exemplar, but no trace" for name in "abcd"],
        ),
        (Counter(spans=61), [], ["61 spans lost", "not drained 60 s after the recovery"]),
        (Counter(spans=3, log_records=1), [], ["1 log records lost"]),
        (
            Counter(),
            ["abc"],
            ["not drained 60 s after the recovery", "abc: an exemplar, but no trace"],
        ),
    ],
)
def test_what_a_process_held_in_memory_may_be_lost(
    lost: Counter[str], dead: list[str], problems: list[str]
) -> None:
    """Up to the limit, acknowledged spans may be lost with a process; nothing else may."""
    expected = Expectation(spans_in_memory=60, exemplars_resolve=True)
    observed = replace(GOOD, lost=lost, drained_s=None, exemplars=9, dead_exemplars=dead)
    assert sorted(judge(observed, expected).problems) == sorted(problems)


def test_without_a_receiver_nothing_is_audited() -> None:
    """In a rehearsal without a receiver, lost items are no problem."""
    observed = replace(GOOD, lost=Counter(spans=9), drained_s=None, stop_durations_s=[4.2])
    assert judge(observed, Expectation(stored=False, drain_s=None, stop_s=10.0)).passed


def test_a_skipped_rehearsal_is_not_judged() -> None:
    """A rehearsal that was skipped, because this machine cannot run it, has no problems."""
    skipped = Observation("disk-full", skipped="mounting is not permitted")
    assert judge(skipped, Expectation(fault_reported=True)) == Verdict([], [])


def test_every_rehearsal_is_described() -> None:
    """Each rehearsal has a unique name, a description, and a short form within its long form."""
    assert len({rehearsal.name for rehearsal in REHEARSALS}) == len(REHEARSALS)
    for rehearsal in REHEARSALS:
        assert rehearsal.description
        assert 0 <= rehearsal.short <= rehearsal.long <= 300
