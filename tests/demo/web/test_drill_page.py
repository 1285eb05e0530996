"""Drills on the page: who may start one, what is chosen, and that all views and commands agree."""

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import HOST, StoredData
from tests.processes import wait_for
from tests.traces import TRACE
from three_pillar_demo.drills import answer_choices, catalogue, choice, launch, session
from three_pillar_demo.drills.catalogue import DrillError
from three_pillar_demo.drills.verdict import verdict
from three_pillar_demo.stack import state

OpenPage = Callable[..., TestClient]
DRILL = catalogue.load("waiting-customers")
OWN = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
VIEWS = (
    "/",
    f"/trace/{TRACE}",
    "/logs",
    "/metrics",
    "/runbook",
    "/status",
    "/nowhere",
    "/?minutes=7",
)
MODES = ("local", "full")


@pytest.fixture(autouse=True)
def _log_in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "LOG", tmp_path / "drill.log")


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a drill's process be one that sleeps, on a stack that seems to run; end it afterwards."""
    sleeper = tmp_path / "sleeper"
    sleeper.write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 600\n")
    sleeper.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    monkeypatch.setattr(state, "mode", lambda: "local")
    yield
    current = session.latest()
    process = current and current.runner.alive()
    if process:
        process.kill()


def start(page: TestClient, drill: str = "", **headers: str) -> int:
    """Press the button that starts a drill; return the status of the answer."""
    fields = {"do": "start", "drill": drill}
    return page.post("/drill", data=fields, headers=OWN | headers).status_code


def paged(**changes: Any) -> None:  # noqa: ANN401  (any field of the session)
    """Save the session of a drill that this process runs, and whose player has been paged."""
    now = time.time()
    session.save(
        session.DrillSession(
            DRILL.name, state.current_process(), now - 90, paged_at=now - 65, **changes
        )
    )


@pytest.mark.usefixtures("runner")
def test_a_drill_is_started_and_stopped_on_the_page(page: TestClient) -> None:
    """A drill is chosen, started and stopped on the page; the commands see the same one."""
    text = page.get("/").text
    assert '<option value="">a surprise</option>' in text
    for drill in choice.drills_of("local"):
        assert f'<option value="{drill.name}">{drill.pain}</option>' in unescape(text)
    assert start(page, DRILL.name) == 303
    current = session.latest()
    assert current
    assert (current.drill, current.active, current.blind) == (DRILL.name, True, False)
    text = page.get("/").text
    assert "A drill is running since" in text
    assert "Practise an incident" not in text
    with pytest.raises(DrillError, match="already running"):
        launch.launch(DRILL, 0, blind=False)
    assert page.post("/drill", data={"do": "stop"}, headers=OWN).status_code == 303
    assert f"{DRILL.pain}: stopped after" in unescape(page.get("/").text)
    with pytest.raises(DrillError, match="no drill is running"):
        session.next_hint()


@pytest.mark.usefixtures("runner")
def test_the_next_drill_waits_until_the_last_one_is_undone(page: TestClient) -> None:
    """While the process of an ended drill still restores the shop, no other drill starts."""
    start(page, DRILL.name)
    session.end("stopped")
    assert "Practise an incident" not in page.get("/").text
    answer = page.post("/drill", data={"do": "start", "drill": ""}, headers=OWN)
    assert answer.status_code == 422
    assert "the last drill is still being undone" in answer.text
    current = session.latest()
    assert current
    process = current.runner.alive()
    assert process
    process.kill()
    wait_for("the process to end", lambda: current.runner.alive() is None)
    assert "Practise an incident" in page.get("/").text
    assert start(page) == 303


@pytest.mark.usefixtures("runner")
def test_a_drill_of_a_command_is_shown(page: TestClient) -> None:
    """A drill that was started in the terminal is on the page at once, and no second one starts."""
    launch.launch(DRILL, 0, blind=True)
    text = page.get("/").text
    assert "A drill is running since" in text
    assert DRILL.name not in text
    assert start(page) == 422


@pytest.mark.usefixtures("runner")
def test_of_many_starts_at_once_one_succeeds(page: TestClient) -> None:
    """Several visitors, or a visitor and a command, cannot start two drills at the same time."""
    assert page.portal
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: start(page), range(8)))
    assert sorted(statuses) == [303] + [422] * 7

    def sleepers() -> int:
        running = psutil.Process().children(recursive=True)
        return len([process for process in running if process.name() == "sleep"])

    wait_for("a drill's process to have begun", lambda: sleepers() > 0)
    assert sleepers() == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://elsewhere.test"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
        {"origin": "", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"host": "page.test", "origin": "http://page.test"},
        {"host": "page.test", "origin": "https://page.test"},
        {"host": "rebound.test:8080", "origin": "http://rebound.test:8080"},
    ],
)
@pytest.mark.usefixtures("runner")
def test_no_other_origin_or_name_starts_a_drill(page: TestClient, headers: dict[str, str]) -> None:
    """A page of another origin, and a page under another name than loopback, starts no process."""
    assert start(page, DRILL.name, **headers) in {403, 421}
    assert session.latest() is None
    assert not launch.LOG.exists()


@pytest.mark.usefixtures("runner")
def test_no_other_machine_starts_a_drill(open_page: OpenPage) -> None:
    """Where the page is reached from another machine it offers no drill and starts none."""
    page = open_page(client_address="192.0.2.1")
    assert "Practise an incident" not in page.get("/").text
    assert start(page, DRILL.name) == 403
    assert session.latest() is None


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize(("mode", "status"), [("view", 404), ("compose", 403)])
def test_modes_without_drills_offer_none(open_page: OpenPage, mode: str, status: int) -> None:
    """Where no drill can run, the page neither offers one nor starts one."""
    page = open_page(mode=mode)
    assert "Practise an incident" not in page.get("/").text
    assert start(page, DRILL.name) == status
    assert session.latest() is None


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize("name", ["no-such-drill", "../secret", "waiting-customers blind", "-c"])
def test_only_known_drills_are_started(page: TestClient, name: str) -> None:
    """A name that is no drill of the catalogue is refused, and no process is started with it."""
    assert start(page, name) == 422
    assert session.latest() is None


def test_without_a_stack_no_drill_is_started(
    page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the stack is gone, the page says what a drill needs."""
    monkeypatch.setattr(state, "mode", lambda: None)
    answer = page.post("/drill", data={"do": "start", "drill": ""}, headers=OWN)
    assert answer.status_code == 422
    assert "a drill needs a running stack" in answer.text


def test_a_runner_that_has_died_is_said(page: TestClient) -> None:
    """A drill whose process is gone does not vanish: the page shows what the process said."""
    paged(ended_at=None)
    current = session.latest()
    assert current
    current.runner = state.Process(2**22 + 1, 0.0)
    session.save(current)
    launch.LOG.write_text("Traceback\nMemoryError: <b>\n\n")
    text = page.get("/").text
    assert "It has ended unexpectedly: MemoryError: &lt;b&gt;" in text
    assert "Practise an incident" in text


@pytest.mark.parametrize("mode", MODES)
def test_every_answer_can_be_chosen(mode: str) -> None:
    """Each drill's answer is among the choices, which do not depend on the drill."""
    choices = answer_choices.choices_of(mode)
    words = {
        part: {word for words in choices[part].values() for word in words}
        for part in ("what", "where")
    }
    for drill in choice.drills_of(mode):
        for part, words_of_part in words.items():
            accepted = {answer_choices.place(word) for word in getattr(drill.answer, part)}
            assert accepted & words_of_part, (drill.name, part)
            assert len(words_of_part - accepted) >= 4, (drill.name, part)
    assert answer_choices.FURTHER not in choices["what"]
    assert answer_choices.FURTHER not in choices["where"]


def test_every_kind_of_place_has_several_choices() -> None:
    """No heading has a single word, which would tell that some drill is about it."""
    for heading, words in {**answer_choices.PLACES, **answer_choices.NOT_COMPONENTS}.items():
        assert len(words) >= 2, heading


def test_drills_of_a_user_can_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first accepted word of a drill with other answers is added to the choices."""
    answer = DRILL.answer.model_copy(update={"what": ("cdn", "edge"), "where": ("eu-1",)})
    drills = [*choice.drills_of("local"), DRILL.model_copy(update={"answer": answer})]
    monkeypatch.setattr(answer_choices, "drills_of", lambda _mode: drills)
    what = answer_choices.what_choices.__wrapped__("local")
    assert what[answer_choices.FURTHER] == ("cdn",)


def test_the_parts_of_an_answer_are_chosen_and_kept(page: TestClient) -> None:
    """All three parts are choices, and after a wrong answer they are as they were answered."""
    paged()
    form = answer_form(page)
    assert '<input id="drill' not in form
    for part in session.PARTS:
        assert re.search(rf'<select id="drill-{part}" name="{part}" required data-keep>', form)
    answer = {"do": "answer", "what": "payment", "where": "amex", "why": "slow-gateway"}
    page.post("/drill", data=answer)
    form = answer_form(page)
    assert re.findall(r"<option[^>]* selected>([^<]*)<", form) == [
        "payment",
        "amex",
        catalogue.REASONS["slow-gateway"],
    ]


def answer_form(page: TestClient) -> str:
    """Return the HTML of the form for the answer."""
    return page.get("/").text.split('id="drill-answer"')[1].split("</form>")[0]


@pytest.mark.parametrize("mode", MODES)
def test_the_help_names_every_kind_of_answer(open_page: OpenPage, mode: str) -> None:
    """The sentence above the form names each kind of what can be chosen in the form."""
    paged()
    text = open_page(mode=mode).get("/").text
    said = text.split("Then answer what has the fault")[1].split("</p>")[0]
    for choices in answer_choices.choices_of(mode).values():
        for heading in choices:
            assert heading in said


def test_a_place_is_one_choice(page: TestClient) -> None:
    """A service is chosen together with its route, and an answer by route shows it as chosen."""
    paged()
    where = answer_form(page).split('id="drill-where"')[1].split("</select>")[0]
    assert '<option value="payment">payment (/charges)</option>' in where
    assert where.count("/charges") == 1
    answer = {"do": "answer", "what": "payment", "where": "POST /charges", "why": "slow-gateway"}
    page.post("/drill", data=answer)
    assert '<option value="payment" selected>payment (/charges)</option>' in answer_form(page)
    assert "Where is wrong: payment (/charges)" in page.get("/").text


def test_a_word_that_is_no_choice_is_refused(page: TestClient) -> None:
    """A word that no drill is about is refused, and not graded as an answer."""
    paged()
    answer = {"do": "answer", "what": "payment", "where": "<b>", "why": "slow-gateway"}
    refused = page.post("/drill", data=answer)
    assert refused.status_code == 422
    assert "&lt;b&gt;&#39; cannot be answered" in refused.text
    current = session.latest()
    assert current
    assert current.answers == []


def test_the_verdict_links_to_the_runbook(page: TestClient) -> None:
    """The verdict has the words of the form, and leads to the section of the runbook."""
    paged()
    answer = {"do": "answer", "what": "payment", "where": "visa", "why": "slow-gateway"}
    page.post("/drill", data=answer)
    shown = page.get("/").text.split('id="drill-verdict"')[1].split("</dl>")[0]
    assert "What: payment; Where: visa; Why: a gateway that payment calls has" in shown
    assert "slow-gateway" not in shown
    section = DRILL.runbook.removeprefix("docs/how-to/runbook.md")
    assert f'<a href="/runbook{section}">' in shown
    assert "docs/how-to" not in shown
    assert f'id="{section[1:]}"' in page.get("/runbook").text


def test_a_verdict_without_a_section_has_no_link(page: TestClient) -> None:
    """The verdict on a drill that no section of the runbook is about shows the cause alone."""
    paged()
    current = session.latest()
    assert current
    current.drill = "half-a-trace"
    session.save(current)
    session.end("given up")
    shown = page.get("/").text.split('id="drill-verdict"')[1].split("</dl>")[0]
    assert "the proxy drops traceparent" in shown
    assert "runbook" not in shown
    lines = verdict(current, catalogue.load("half-a-trace")).lines
    assert not any(line.startswith("Read") for line in lines)
    current.outcome = "given up"
    *_, last_line = verdict(current, catalogue.load("half-a-trace")).lines
    assert last_line.split() == ["Read", "docs/how-to/game-day.md"]


@pytest.mark.parametrize("path", ["/", "/?tour=2", f"/trace/{TRACE}?tour=4"])
def test_there_is_no_tour_during_a_drill(busy: StoredData, page: TestClient, path: str) -> None:
    """No page shows a step of the tour or leads to one while a drill runs; then they do again."""
    assert busy.spans
    paged()
    text = page.get(path).text
    assert 'id="tour"' not in text
    assert ">Tour</a>" not in text
    assert "tour-target" not in text
    session.end("stopped")
    text = page.get(path).text
    assert 'id="tour"' in text


@pytest.mark.parametrize("path", VIEWS)
def test_the_pager_is_on_every_view(page: TestClient, path: str) -> None:
    """Each view shows the alerts and the drill, announces them, and has the answer's form."""
    paged()
    labels = {"alertname": "PaymentUnreachable", "severity": "page"}
    alert = {"status": "firing", "labels": labels, "annotations": {"summary": "gone"}}
    page.post("/alerts", json={"alerts": [alert]})
    text = page.get(path).text
    inbox = text.split('id="inbox"')[1].split("</section>")[0]
    assert "PaymentUnreachable" in inbox
    assert "Paged</span> at" in inbox
    assert 'id="drill-answer"' in inbox
    said = text.split('id="announcement"')[1].split("</div>")[0]
    assert "PaymentUnreachable is firing." in said
    assert f"{DRILL.symptom.says}." in unescape(said)
    # The clock since the page, such as 1:05, and not the time of the page, such as 07:21:05.
    clock = re.search(r"(?<![\d:])\d+:\d\d(?![\d:])", said)
    assert clock is None, "what changes each second is not read out"


def test_an_answer_leads_back_to_its_page(page: TestClient) -> None:
    """After a form of the pager a visitor is on the page that had it."""
    paged()
    own = f"http://{HOST}/trace/{TRACE}?minutes=15"
    answer = page.post("/drill", data={"do": "hint"}, headers=OWN | {"referer": own})
    assert answer.headers["location"] == f"/trace/{TRACE}?minutes=15"


@pytest.mark.parametrize(
    "referer",
    [
        "http://elsewhere.test/trace",
        f"http://{HOST}//elsewhere.test/",
        f"http://{HOST}/\\elsewhere.test",
        f"http://{HOST}/drill?minutes=15",
        f"http://{HOST}",
        "about:blank",
        "http://[",
    ],
)
def test_a_form_never_leads_elsewhere(page: TestClient, referer: str) -> None:
    """A Referer that is no page of ours leads to the overview."""
    paged()
    fields = {"do": "hint"}
    answer = page.post("/drill?minutes=15", data=fields, headers=OWN | {"referer": referer})
    assert answer.headers["location"] == "/?minutes=15"
