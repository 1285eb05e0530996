"""The page's pager: it shows what rings and the drill that is played, takes the answer, and runs nobody's markup."""

import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from three_pillar_demo.drills import catalogue, session
from three_pillar_demo.stack import state
from three_pillar_demo.web.alert_inbox import MAX_BODY

DRILL = catalogue.load("slow-bank")
FIRING = {
    "status": "firing",
    "labels": {"alertname": "PaymentUnreachable", "severity": "page"},
    "annotations": {"summary": "<b>Checkout</b> cannot reach payment"},
    "startsAt": "2026-11-28T10:11:12Z",
}


@pytest.fixture(autouse=True)
def _notes_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in (("NOTES", "notes.json"), ("GUARD", "notes.lock")):
        monkeypatch.setattr(session, name, tmp_path / file)


def played(**changes: Any) -> None:  # noqa: ANN401  (any of the notes)
    """This process plays a drill."""
    session.save(
        session.DrillSession(DRILL.name, state.current_process(), time.time() - 80, **changes)
    )


def test_without_a_drill_there_is_no_pager(page: TestClient) -> None:
    """A page of an ordinary day has no pager, and refuses to do anything about a drill."""
    assert 'id="pager-card"' not in page.get("/").text
    refused = page.post("/drill", data={"do": "hint"})
    assert refused.status_code == 422
    assert "no drill is being played" in refused.text


def test_somebody_is_told_to_wait(page: TestClient) -> None:
    """Before the symptom is there nobody is paged, and nothing is given away."""
    played()
    shown = page.get("/").text
    assert "You will be paged here" in shown
    assert DRILL.story[:20] not in shown
    assert (
        page.post(
            "/drill", data={"do": "answer", "what": "a", "where": "b", "why": "slow"}
        ).status_code
        == 422
    )


def test_a_drill_is_played_on_the_page(page: TestClient) -> None:
    """Story, clock and hints are shown, a wrong part is named, and a right answer ends it with the report."""
    played(paged=time.time() - 75)
    shown = page.get("/").text
    assert "Support has a dozen calls" in shown
    assert "1:1" in shown
    assert DRILL.name not in shown
    assert DRILL.hints[0][:30] not in shown
    assert page.post("/drill?minutes=15", data={"do": "hint"}).headers["location"] == "/?minutes=15"
    assert DRILL.hints[0][:30] in page.get("/").text
    page.post(
        "/drill", data={"do": "answer", "what": "payment", "where": "amex", "why": "slow-gateway"}
    )
    assert "where amex: no" in page.get("/").text
    page.post(
        "/drill", data={"do": "answer", "what": "payment", "where": "visa", "why": "slow-gateway"}
    )
    assert "slow-bank: solved after 1 min" in page.get("/").text


def test_giving_up_on_the_page(page: TestClient) -> None:
    """Who gives up is told what it was."""
    played(paged=time.time())
    page.post("/drill", data={"do": "give-up"})
    assert "given up after" in page.get("/").text


def test_an_alert_rings_until_it_is_resolved(page: TestClient) -> None:
    """What Alertmanager posts is shown as text while it fires, and gone when it is resolved."""
    assert page.post("/alerts", content=json.dumps({"alerts": [FIRING]})).status_code == 204
    shown = page.get("/").text
    assert "PaymentUnreachable" in shown
    assert "&lt;b&gt;Checkout" in shown
    page.post("/alerts", content=json.dumps({"alerts": [{**FIRING, "status": "resolved"}]}))
    assert "PaymentUnreachable" not in page.get("/").text


def test_alerts_of_one_name_ring_each(page: TestClient) -> None:
    """Two that differ in a label alone have ids of their own, or the page would merge one into the other; a time is local."""
    both = [
        {**FIRING, "labels": {"alertname": "ServiceSilent", "job": each}}
        for each in ("shop/checkout", "shop/payment")
    ]
    page.post("/alerts", content=json.dumps({"alerts": [*both, {**FIRING, "startsAt": "soon"}]}))
    shown = page.get("/").text
    assert len(set(re.findall(r'id="(alert-[^"]+)"', shown))) == 3
    at = datetime.fromisoformat(str(FIRING["startsAt"])).astimezone().strftime("%H:%M:%S")
    assert shown.count(f"since {at}") == 2


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"alerts": 1}', '{"alerts": [1]}', '{"alerts": [{"labels": 1}]}', "[" * 5000],
)
def test_what_is_no_alert_is_refused(page: TestClient, body: str) -> None:
    """Anything else than Alertmanager's own shape is refused, and the page goes on."""
    assert page.post("/alerts", content=body).status_code == 422
    assert page.get("/").status_code == 200


def test_an_alert_is_bounded(page: TestClient) -> None:
    """A huge body is refused, and a flood of alerts makes a page of bounded size."""
    assert page.post("/alerts", content=b" " * (MAX_BODY + 1)).status_code == 413
    flood = [{**FIRING, "labels": {"alertname": f"A{number}"}} for number in range(900)]
    page.post("/alerts", content=json.dumps({"alerts": flood}))
    assert page.get("/").text.count("<b>A") == 50
