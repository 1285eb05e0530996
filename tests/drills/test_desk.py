"""Answers are graded part by part, and a reason is a choice."""

import pytest

from demo.drills import desk
from demo.drills.catalogue import DrillError, load, names


@pytest.mark.parametrize("name", names())
def test_the_answer_of_the_file_is_right(name: str) -> None:
    """Every accepted word is right, in any case, with the reason by its name."""
    right = load(name).answer
    for what in right.what:
        for where in right.where:
            assert desk.grade(right, {"what": what.upper(), "where": where, "why": right.why}).solved


def test_each_part_is_graded() -> None:
    """A wrong part does not spoil the others, and is named."""
    grade = desk.grade(load("slow-bank").answer, {"what": "payment", "where": "amex", "why": "slow-gateway"})
    assert grade.right == {"what": True, "where": False, "why": True}
    assert not grade.solved
    assert grade.said[1] == "where amex: no"


def test_naming_everything_is_no_answer() -> None:
    """Many words for one part are wrong, also when the right one is among them."""
    grade = desk.grade(load("slow-bank").answer, {"what": "payment checkout", "where": "visa amex", "why": "slow-gateway"})
    assert not grade.right["what"]
    assert not grade.right["where"]


def test_a_reason_may_be_cut() -> None:
    """A part that only one reason has is that reason; what fits several or none is answered with the choice."""
    assert desk.reason("slow") == "slow-gateway"
    assert desk.reason(" SLOW-gateway ") == "slow-gateway"
    for vague in ("gateway", "", "gremlins"):
        with pytest.raises(DrillError, match="why is one of"):
            desk.reason(vague)
