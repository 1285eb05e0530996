"""Tests for the alert inbox: alerts from Alertmanager, and a drill with its form."""

import json
import re
import time
from datetime import datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from three_pillar_demo.drills import catalogue, session
from three_pillar_demo.stack import state
from three_pillar_demo.web import runbook
from three_pillar_demo.web.alert_inbox import alerts
from three_pillar_demo.web.alert_inbox.alerts import MAX_ALERTS
from three_pillar_demo.web.alert_inbox.routes import MAX_ALERTS_BYTES

DRILL = catalogue.load("waiting-customers")
FIRING = {
    "status": "firing",
    "labels": {"alertname": "PaymentUnreachable", "severity": "page"},
    "annotations": {"summary": "<b>Checkout</b> cannot reach payment"},
    "startsAt": "2026-11-28T10:11:12Z",
}


def start_drill(**changes: Any) -> None:  # noqa: ANN401  (any field of the session)
    """Save the session of a running drill, with this process as its runner."""
    started_at = time.time() - 80
    session.save(session.DrillSession(DRILL.name, state.current_process(), started_at, **changes))


def answer_drill(page: TestClient, where: str) -> None:
    """Submit the right answer, with ``where`` in place of its part "where"."""
    answer = {"do": "answer", "what": "payment", "where": where, "why": "slow-gateway"}
    page.post("/drill", data=answer)


def post_alerts(page: TestClient, *alerts: dict[str, Any]) -> int:
    """Post alerts as Alertmanager does; return the HTTP status of the answer."""
    return page.post("/alerts", content=json.dumps({"alerts": alerts})).status_code


def test_an_alert_that_is_not_repeated_is_over(
    page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert whose end was never reported is marked after a while, and later disappears."""
    post_alerts(page, FIRING)
    text = page.get("/").text
    assert "Over: Alertmanager has not repeated it" not in text
    assert '<b class="bad">page</b>' in text
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + alerts.OVER_AFTER_S + 1)
    text = page.get("/").text
    assert "Over: Alertmanager has not repeated it since" in text
    assert '<b class="muted">page</b>' in text
    post_alerts(page, FIRING)
    assert "Over: Alertmanager has not repeated it" not in page.get("/").text
    later = now + alerts.OVER_AFTER_S + alerts.FORGOTTEN_AFTER_S + 2
    monkeypatch.setattr(time, "time", lambda: later)
    assert "PaymentUnreachable" not in page.get("/").text


def test_the_repeat_interval_is_that_of_alertmanager() -> None:
    """The page counts with the interval in which Alertmanager repeats an alert."""
    config = yaml.safe_load(Path("config/alertmanager.yml").read_text())
    assert config["route"]["repeat_interval"] == f"{alerts.REPEAT_INTERVAL_S / 60:.0f}m"


def test_without_alerts_and_drill_there_is_no_inbox(page: TestClient) -> None:
    """Without a drill the page has no inbox, and the forms of a drill are refused."""
    text = page.get("/?tour=0").text
    assert 'id="alert-inbox"' not in text
    assert '<div id="inbox" data-refresh></div>' in text, "an empty element takes up no space"
    refused = page.post("/drill", data={"do": "hint"})
    assert refused.status_code == 422
    assert "no drill is running" in refused.text


def test_before_the_symptom_the_player_waits(page: TestClient) -> None:
    """Before the symptom the page reveals nothing of the drill, and answers are refused."""
    start_drill()
    text = page.get("/").text
    assert "You will be paged here" in text
    assert DRILL.story[:20] not in text
    answer = {"do": "answer", "what": "a", "where": "b", "why": "slow"}
    assert page.post("/drill", data=answer).status_code == 422


def test_drill_is_played_on_the_page(page: TestClient) -> None:
    """A drill shows story, clock and hints, names a wrong part, and ends with the right answer."""
    start_drill(paged_at=time.time() - 75)
    text = page.get("/").text
    assert "Support has a dozen calls" in text
    assert f"Symptom: {DRILL.symptom.says}." in unescape(text)
    assert "1:1" in text
    assert DRILL.name not in text
    assert DRILL.hints[0][:30] not in text
    assert page.post("/drill?minutes=15", data={"do": "hint"}).headers["location"] == "/?minutes=15"
    assert DRILL.hints[0][:30] in page.get("/").text
    answer_drill(page, where="amex")
    assert "Where is wrong: amex" in page.get("/").text
    answer_drill(page, where="visa")
    assert f"{DRILL.pain}: solved after 1 min" in page.get("/").text


def test_giving_up_shows_the_solution(page: TestClient) -> None:
    """Giving up ends the drill and shows its result."""
    start_drill(paged_at=time.time())
    page.post("/drill", data={"do": "give-up"})
    assert "given up after" in page.get("/").text


def test_alert_is_shown_until_it_is_resolved(page: TestClient) -> None:
    """A firing alert is shown as plain text, and disappears when it is resolved."""
    assert post_alerts(page, FIRING) == 204
    text = page.get("/").text
    assert "PaymentUnreachable" in text
    assert "&lt;b&gt;Checkout" in text
    post_alerts(page, {**FIRING, "status": "resolved"})
    assert "PaymentUnreachable" not in page.get("/").text


@pytest.mark.parametrize("mode", ["local", "full"])
def test_the_runbook_has_the_ports_of_the_stack(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Addresses in the runbook have the ports of the running stack, and others stay as they are."""
    monkeypatch.setenv("CHECKOUT_PORT", "8100")
    monkeypatch.setenv("STORE_PORT", "4418")
    monkeypatch.setenv("OTEL_COLLECTOR_PORT", "4518")
    text = "curl 127.0.0.1:8000/metrics 127.0.0.1:4318 http://127.0.0.1:9 8000 10.0.0.1:8000"
    receiver = {"local": "4418", "full": "4518"}[mode]
    expected = (
        f"curl 127.0.0.1:8100/metrics 127.0.0.1:{receiver} http://127.0.0.1:9 8000 10.0.0.1:8000"
    )
    assert runbook.with_actual_ports(text, mode) == expected


def test_the_page_of_the_runbook_has_the_actual_ports(
    monkeypatch: pytest.MonkeyPatch, page: TestClient
) -> None:
    """The page names the address of the web UI that runs, not the default one."""
    monkeypatch.setenv("WEB_PORT", "8180")
    html = page.get("/runbook").text
    assert "http://127.0.0.1:8180" in html
    assert "http://127.0.0.1:8080" not in html


def test_an_alert_links_to_its_section_of_the_runbook(page: TestClient) -> None:
    """Each alert of the rules links to a heading of the page with the runbook."""
    rules = yaml.safe_load(Path("config/alerts.yml").read_text())
    references = {
        rule["alert"]: rule["annotations"]["runbook"]
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    html = page.get("/runbook").text
    for name, reference in references.items():
        annotations = {"summary": "", "runbook": reference}
        post_alerts(page, {**FIRING, "labels": {"alertname": name}, "annotations": annotations})
        link = f'<a href="/runbook#{name.lower()}">Runbook</a>'
        assert link in page.get("/").text
        assert f'<h2 id="{name.lower()}">{name}</h2>' in html


@pytest.mark.parametrize(
    "reference",
    [
        "javascript:alert(1)",
        "docs/how-to/../../config/alerts.yml",
        "docs/how-to/runbook.md#a\nb",
        "docs/how-to/runbook.md#<b>",
        "https://elsewhere.test/docs/how-to/runbook.md",
        "",
    ],
)
def test_other_runbooks_are_no_links(page: TestClient, reference: str) -> None:
    """An annotation that is not a section of this runbook makes no link."""
    post_alerts(page, {**FIRING, "annotations": {"runbook": reference}})
    text = page.get("/").text
    assert "PaymentUnreachable" in text
    assert "Runbook</a>" not in text


def test_an_installation_without_a_runbook_links_to_none(
    page: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the file, as in the image, the address is not found and alerts have no link to it."""
    monkeypatch.setattr(runbook, "FILE", tmp_path / "runbook.md")
    post_alerts(page, {**FIRING, "annotations": {"runbook": "docs/how-to/runbook.md"}})
    assert "Runbook</a>" not in page.get("/").text
    assert page.get("/runbook").status_code == 404


def test_the_runbook_is_rendered(page: TestClient) -> None:
    """Code, bold text, fences and links within the page are rendered, and nothing is left over."""
    html = page.get("/runbook").text.split('id="runbook">')[1].split("</article>")[0]
    assert "<b>Look at first:</b> <code>/d/slo</code>" in html
    assert "<pre>sum by (http_response_status_code)" in html
    assert '<a href="#paymentunreachable">PaymentUnreachable</a>' in html
    shown = re.sub(r"<pre>.*?</pre>|<code>.*?</code>|<[^>]*>|&#39;", "", html, flags=re.DOTALL)
    assert not re.search(r"[`#\[\]*]", shown)


def test_markup_in_the_runbook_is_text() -> None:
    """Text that looks like HTML is escaped everywhere in a document."""
    text = '# <b>\n\n<i> `<u>` **<s>** [<a>](#<x>")\n\n```\n<p>\n```\n'
    html = runbook.to_html(text)
    assert set(re.findall(r"<(\w+)", html)) == {"h1", "p", "code", "b", "a", "pre"}
    assert 'href="#&lt;x&gt;&#34;"' in html


def test_alerts_with_the_same_name_have_different_ids(page: TestClient) -> None:
    """Alerts that differ only in a label have different ids, so that the page keeps them apart."""
    alerts = [
        {**FIRING, "labels": {"alertname": "ServiceSilent", "job": job}}
        for job in ("shop/checkout", "shop/payment")
    ]
    post_alerts(page, *alerts, {**FIRING, "startsAt": "soon"})
    text = page.get("/").text
    assert len(set(re.findall(r'id="(alert-[0-9a-f]{12})"', text))) == 3
    local_time = datetime.fromisoformat(str(FIRING["startsAt"])).astimezone()
    assert text.count(f"since {local_time:%H:%M:%S}</span>") == 2
    for key in set(re.findall(r'id="alert-([0-9a-f]{12})"', text)):
        assert re.search(rf'<p id="say-alert-{key}">\w+ is firing', text)


def test_few_alerts_are_on_the_other_views(page: TestClient) -> None:
    """Beside other things a view shows three alerts, and leads to all of them on the overview."""
    labels = [{"alertname": f"Alert{number}"} for number in range(5)]
    post_alerts(page, *({**FIRING, "labels": own} for own in labels))
    text = page.get("/logs").text
    assert len(re.findall(r'<p id="alert-', text)) == 3
    assert '<a href="/">2 more alerts</a>' in text
    text = page.get("/").text
    assert len(re.findall(r'<p id="alert-', text)) == 5
    assert "more alerts" not in text


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"alerts": 1}', '{"alerts": [1]}', '{"alerts": [{"labels": 1}]}', "[" * 5000],
)
def test_malformed_payload_is_refused(page: TestClient, body: str) -> None:
    """A body that Alertmanager would not send is refused, and the page keeps working."""
    assert page.post("/alerts", content=body).status_code == 422
    assert page.get("/").status_code == 200


def test_alerts_are_limited(page: TestClient) -> None:
    """A huge body is refused, and a flood of alerts makes a page of limited size."""
    assert page.post("/alerts", content=b" " * (MAX_ALERTS_BYTES + 1)).status_code == 413
    flood = [{**FIRING, "labels": {"alertname": f"A{number}"}} for number in range(900)]
    post_alerts(page, *flood)
    assert page.get("/").text.count("<b>A") == MAX_ALERTS == 50
