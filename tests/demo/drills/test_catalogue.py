"""The drill files: each is whole, names what exists, and a wrong one is refused with a clear error."""

import re
from pathlib import Path

import pytest
import yaml

from three_pillar_demo.drills import catalogue
from three_pillar_demo.drills.catalogue import WHY, DrillError
from three_pillar_demo.drills.conditions import Asked
from three_pillar_demo.stack.components import MODES

ALERTS = {
    rule["alert"]
    for group in yaml.safe_load(Path("config/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
ISSUE = {
    "slow-bank",
    "declined-surge",
    "gateway-timeouts",
    "payment-down",
    "bad-deploy",
    "retry-storm",
    "pool-exhausted",
    "blocked-loop",
    "broken-context",
    "cardinality-bomb",
    "queue-fills",
    "clock-skew",
}
GOOD = Path("demo/three_pillar_demo/drills/scenarios/slow-bank.toml").read_text()


def test_the_twelve_are_there() -> None:
    """Every incident of the catalogue has its file."""
    assert set(catalogue.names()) >= ISSUE


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", catalogue.names())
def test_a_file_names_what_exists(name: str, mode: str) -> None:
    """It is read, its alerts are in alerts.yml, its runbook's section is there, and its story does not give the answer away."""
    drill = catalogue.read(catalogue.files()[name], mode)
    assert set(drill.alerts.fire) <= ALERTS
    path, _, section = drill.runbook.partition("#")
    headings = re.findall(r"^## (.+)$", Path(path).read_text(), re.MULTILINE)
    assert not section or section in {each.lower().replace(" ", "-") for each in headings}
    told = f"{drill.story} {drill.pain}".lower()
    assert drill.answer.why not in told
    assert not {each for each in drill.answer.where if each[0].isdigit() and each in told}
    assert 1 <= len(re.findall(r"[.!?](?:\s|\"|$)", drill.story)) <= 4


def test_a_drill_can_be_another_one_on_the_real_stack() -> None:
    """What stands in the table ``full`` replaces the rest there, and only there."""
    path = catalogue.files()["queue-fills"]
    here, there = catalogue.read(path), catalogue.read(path, "full")
    assert (here.fault.lock_store, here.fault.stop) == (True, ())
    assert (there.fault.lock_store, there.fault.stop) == (False, ("loki",))
    assert there.alerts.fire == ("CollectorCannotSend",)
    assert (here.page, here.answer.why) == (there.page, there.answer.why)


def test_every_reason_is_somebodys() -> None:
    """No two drills have the same cause, and two reasons more than there are causes can be chosen in vain."""
    reasons = [catalogue.load(name).answer.why for name in ISSUE]
    assert len(set(reasons)) == len(reasons)
    assert set(reasons) < set(WHY)


def test_no_reason_is_a_drills_name() -> None:
    """The reasons are told as the choices of a blind drill: not one of them gives its name away."""
    assert not set(catalogue.names()) & set(WHY)


def test_no_two_are_found_by_the_same_evidence() -> None:
    """Each drill asks something that no other one asks in the same words."""
    asked: dict[str, set[str]] = {}
    for name in ISSUE:
        for each in catalogue.load(name).evidence:
            asked.setdefault(each.model_dump_json(exclude={"says"}), set()).add(name)
    alone = {name for names in asked.values() if len(names) == 1 for name in names}
    assert alone == ISSUE


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("pain = ", "pains = ", "pains"),
        ('why = "slow-gateway"', 'why = "gremlins"', "why is one of: slow-gateway"),
        ('slow_network = "visa"', 'slow_network = "diners"', "fault.payment.slow_network"),
        ('slow_network = "visa"', "", "nothing would be broken"),
        ('ask = "red"', 'ask = "everything"', "symptom"),
        ("over = 0.8\n", "", "needs `says`, and `over` or `under`"),
        ("over = 0.8\n", "over = 0.8\nunder = 0.1\n", "either `over` or `under`"),
        ("rate = 12", "rate = 1000", "customers.rate"),
        ('"Open a slow dot', '"One more hint.", "Open a slow dot', "hints"),
        ('runbook = "docs/', 'runbook = "/etc/', "runbook"),
        ("[fault]", "[fault", "line"),
        ("[fault]", "[full]\npains = 1\n[fault]", "pains"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    """The error names the file, the place and what is allowed."""
    path = tmp_path / "wrong.toml"
    assert before in GOOD
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(DrillError) as error:
        catalogue.read(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_a_drill_that_is_not_there_is_told_with_those_that_are() -> None:
    """A wrong name is answered with the right ones."""
    with pytest.raises(DrillError, match=r"there are: .*slow-bank"):
        catalogue.load("../secrets")


def test_what_is_unknown_is_never_found() -> None:
    """No answer is neither much nor little."""
    assert not Asked(under=1).found(None)
    assert not Asked(over=1).found(None)
    assert Asked(under=1).found(0.5)
    assert Asked(over=1).found(1.5)
    assert not Asked(over=1).found(1.0)
