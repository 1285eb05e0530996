"""The drill files are complete and refer to what exists, and an invalid file is refused clearly."""

import re
from pathlib import Path

import pytest
import yaml

from three_pillar_demo.drills import catalogue
from three_pillar_demo.drills.catalogue import REASONS, DrillError
from three_pillar_demo.drills.conditions import QueryCondition, RedCondition
from three_pillar_demo.stack.components import MODES

ALERTS = {
    rule["alert"]
    for group in yaml.safe_load(Path("config/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
DRILLS = {
    "waiting-customers",
    "worried-bank",
    "lost-sales",
    "no-sales",
    "large-orders",
    "more-calls",
    "slow-shop",
    "slow-answers",
    "half-a-trace",
    "rising-bill",
    "missing-data",
    "impossible-trace",
}
FORMER_NAMES = {
    "slow-bank": "waiting-customers",
    "declined-surge": "worried-bank",
    "gateway-timeouts": "lost-sales",
    "payment-down": "no-sales",
    "bad-deploy": "large-orders",
    "retry-storm": "more-calls",
    "pool-exhausted": "slow-shop",
    "blocked-loop": "slow-answers",
    "broken-context": "half-a-trace",
    "cardinality-bomb": "rising-bill",
    "queue-fills": "missing-data",
    "clock-skew": "impossible-trace",
}
"""The present name of each drill, by the name that it had before."""
COMMON_WORDS = {"all", "every", "and", "the"}
"""Words of answers that a summary may have, because they say nothing about a cause."""
VALID_FILE = Path("demo/three_pillar_demo/drills/scenarios/waiting-customers.toml").read_text()


def test_all_twelve_drills_exist() -> None:
    """Each of the twelve drills has a file."""
    assert set(catalogue.names()) >= DRILLS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", catalogue.names())
def test_a_file_names_what_exists(name: str, mode: str) -> None:
    """A file is valid, its alerts and runbook section exist, and its story hides the answer."""
    drill = catalogue.read(catalogue.files()[name], mode)
    assert set(drill.alerts.fire) <= ALERTS
    if drill.runbook:
        path, _, section = drill.runbook.partition("#")
        headings = re.findall(r"^## (.+)$", Path(path).read_text(), re.MULTILINE)
        assert section in {heading.lower().replace(" ", "-") for heading in headings}
    visible_text = f"{drill.story} {drill.pain}".lower()
    assert drill.answer.why not in visible_text
    numbers = [word for word in drill.answer.where if word[0].isdigit()]
    assert not [number for number in numbers if number in visible_text]
    assert 1 <= len(re.findall(r"[.!?](?:\s|\"|$)", drill.story)) <= 4


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", catalogue.names())
def test_a_text_of_the_pager_names_no_time_before_the_drill(name: str, mode: str) -> None:
    """A drill is some seconds old when its player is paged, and its texts name no longer time."""
    drill = catalogue.read(catalogue.files()[name], mode)
    text = f"{drill.pain} {drill.story} {drill.symptom.says}"
    longer = r"\b(hours?|today|yesterday|(this )?morning|lunch|weeks?|since \w+day)\b"
    assert not re.findall(longer, text, re.IGNORECASE)


@pytest.mark.parametrize(("mode", "others"), [("local", {"missing-data"}), ("full", set())])
def test_a_drill_leads_to_a_section_about_its_incident(mode: str, others: set[str]) -> None:
    """Drills about what no alert of the runbook is about lead to no section of it."""
    drills = [catalogue.read(path, mode) for path in catalogue.files().values()]
    without = {drill.name for drill in drills if not drill.runbook}
    about_no_alert = {
        "worried-bank",
        "half-a-trace",
        "impossible-trace",
        "rising-bill",
        "more-calls",
    }
    assert without == about_no_alert | others


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", catalogue.names())
def test_the_list_of_drills_does_not_tell_a_cause(name: str, mode: str) -> None:
    """A drill's name and summary have no word of its answer, its reason or its former name."""
    drill = catalogue.read(catalogue.files()[name], mode)
    listed = f"{drill.name} {drill.pain}".lower()
    told = {*drill.answer.what, *drill.answer.where, *drill.answer.why.split("-")}
    told |= set(drill.former_name.split("-"))
    known = told - COMMON_WORDS
    assert not [word for word in known if re.search(rf"\b{re.escape(word)}\b", listed)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", catalogue.names())
def test_a_symptom_is_said_in_the_words_of_the_page(name: str, mode: str) -> None:
    """A figure that the charts show too has the same name in the symptom, and its limit."""
    symptom = catalogue.read(catalogue.files()[name], mode).symptom
    if not isinstance(symptom, RedCondition):
        return
    names = {"errors": "error ratio", "rate": "requests"}
    assert names.get(symptom.read, symptom.read) in symptom.says
    if symptom.per is None and symptom.over is not None:
        percent = f"{symptom.over * 100:g} %"
        assert (percent if symptom.read == "errors" else f"{symptom.over:g} s") in symptom.says


def test_former_names_are_still_accepted() -> None:
    """A drill can be started and checked by the name that it had before, as in someone's notes."""
    formers = {former: catalogue.load(former).name for former in FORMER_NAMES}
    assert formers == FORMER_NAMES
    assert not set(FORMER_NAMES) & set(catalogue.names())


def test_a_drill_can_differ_in_full_mode() -> None:
    """The table ``full`` of a drill file replaces other tables in full mode only."""
    path = catalogue.files()["missing-data"]
    local = catalogue.read(path)
    full = catalogue.read(path, "full")
    assert (local.fault.lock_store, local.fault.stop) == (True, ())
    assert (full.fault.lock_store, full.fault.stop) == (False, ("loki",))
    assert full.alerts.fire == ("CollectorCannotSend",)
    assert (local.page, local.answer.why) == (full.page, full.answer.why)


def test_every_drill_has_its_own_reason() -> None:
    """No two drills have the same reason, and some reasons belong to no drill."""
    reasons = [catalogue.load(name).answer.why for name in DRILLS]
    assert len(set(reasons)) == len(reasons)
    assert set(reasons) < set(REASONS)


def test_no_reason_is_a_drills_name() -> None:
    """No reason has the name of a drill, because a blind drill lists all reasons."""
    assert not set(catalogue.names()) & set(REASONS)


def test_no_two_drills_have_the_same_evidence() -> None:
    """Each drill has at least one evidence condition that no other drill has."""
    drills_by_condition: dict[str, set[str]] = {}
    for name in DRILLS:
        for condition in catalogue.load(name).evidence:
            key = condition.model_dump_json(exclude={"says"})
            drills_by_condition.setdefault(key, set()).add(name)
    with_own_evidence = {
        name for names in drills_by_condition.values() if len(names) == 1 for name in names
    }
    assert with_own_evidence == DRILLS


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("pain = ", "pains = ", "pains"),
        ('why = "slow-gateway"', 'why = "gremlins"', "why is one of: slow-gateway"),
        ('slow_network = "visa"', 'slow_network = "diners"', "fault.payment.slow_network"),
        ('slow_network = "visa"', "", "nothing would be broken"),
        ('ask = "red"', 'ask = "everything"', "symptom"),
        ("over = 0.8\n", "", "needs `says`, and `over` or `under`"),
        ("over = 0.8\n", "over = 0.8\nunder = 0.1\n", "either `over` or `under`"),
        ("rate = 12", "rate = 1000", "customers.rate"),
        ('"Open a slow request', '"One more hint.", "Open a slow request', "hints"),
        ('runbook = "docs/', 'runbook = "/etc/', "runbook"),
        ("[fault]", "[fault", "line"),
        ("[fault]", "[full]\npains = 1\n[fault]", "pains"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    """The error for an invalid file names the file, the key, and what is allowed."""
    path = tmp_path / "wrong.toml"
    assert before in VALID_FILE
    path.write_text(VALID_FILE.replace(before, after, 1))
    with pytest.raises(DrillError) as error:
        catalogue.read(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_an_unknown_drill_is_refused_with_the_known_names() -> None:
    """The error for a wrong name lists the existing drills."""
    with pytest.raises(DrillError, match=r"there are: .*waiting-customers"):
        catalogue.load("../secrets")


def test_an_unknown_value_never_meets_a_condition() -> None:
    """Neither None nor a value equal to the limit meets ``over`` or ``under``."""
    assert not QueryCondition(under=1).is_met(None)
    assert not QueryCondition(over=1).is_met(None)
    assert QueryCondition(under=1).is_met(0.5)
    assert QueryCondition(over=1).is_met(1.5)
    assert not QueryCondition(over=1).is_met(1.0)
