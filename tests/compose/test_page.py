"""The web UI in its container reaches all backends, and refuses requests of other sites."""

import re
from html import unescape

import httpx2
import pytest

from tests.compose import engine
from tests.compose.conftest import ComposeProject
from tests.end_to_end.conftest import wait_until
from three_pillar_demo.stack import ports
from three_pillar_demo.web.element_ids import element_id

pytestmark = [pytest.mark.stack, pytest.mark.engine, pytest.mark.timeout(300)]
WEB_UI = ports.WEB.url
BACKENDS = ("tempo", "loki", "prometheus", "otel-collector", "alertmanager")
FOREIGN_HEADERS = (
    {"host": "evil.test"},
    {"host": "web:8080"},
    {"host": f"127.0.0.1:{ports.WEB.number}", "origin": "http://evil.test"},
)


def page(path: str) -> str:
    """Return the HTML of a page of the web UI, with its character references decoded."""
    response = httpx2.get(WEB_UI + path, timeout=20, trust_env=False)
    return unescape(response.raise_for_status().text)


def buy(card: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """Submit the form that buys once with ``card``, and return the response."""
    return httpx2.post(
        f"{WEB_UI}/buy", data={"card": card}, headers=headers, timeout=20, trust_env=False
    )


def test_container_is_healthy_and_reaches_all_backends(project: ComposeProject) -> None:
    """The web UI shows its mode, all backends as up, and the sizes of the Collector's queues."""
    assert "web" in project.services
    assert engine.inspect(engine.containers()["web"])["State"]["Health"]["Status"] == "healthy"
    wait_until(
        lambda: all(
            f'<span class="component" id="{element_id("component", name)}"' in page("/?tour=0")
            for name in BACKENDS
        ),
        "all backends to be up",
    )
    wait_until(
        lambda: re.search(r"tempo <b>\d+</b>", page("/?tour=0")) is not None,
        "the Collector's queues",
    )
    assert '<b class="mode">compose</b>' in page("/?tour=0")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_published_port_answers_under_both_names(project: ComposeProject, host: str) -> None:
    """The web UI answers on its published port under both names of loopback."""
    assert project.services
    url = f"http://{host}:{ports.WEB.number}"
    response = httpx2.get(f"{url}/?tour=0", timeout=20, trust_env=False)
    assert response.status_code == 200, response.text
    bought = httpx2.post(
        f"{url}/buy",
        data={"card": "ordinary"},
        headers={"origin": url},
        timeout=20,
        trust_env=False,
    )
    assert bought.status_code == 303, bought.text


@pytest.mark.parametrize(
    "headers", FOREIGN_HEADERS, ids=lambda headers: str(list(headers.values())[-1])
)
def test_foreign_host_and_origin_are_refused(
    project: ComposeProject, headers: dict[str, str]
) -> None:
    """Requests for other host names and forms of other sites are refused."""
    assert project.services
    response = buy("ordinary", headers)
    assert response.status_code == (403 if "origin" in headers else 421)


def test_alert_reaches_the_web_ui_through_alertmanager(project: ComposeProject) -> None:
    """Prometheus is connected to Alertmanager, whose alerts appear in the web UI."""
    assert "alertmanager" in project.services
    alerts = [
        {
            "labels": {"alertname": "TriedInCompose", "severity": "page"},
            "annotations": {"summary": "Only a trial"},
        }
    ]
    httpx2.post(
        f"{ports.ALERTMANAGER.url}/api/v2/alerts", json=alerts, timeout=20, trust_env=False
    ).raise_for_status()
    wait_until(
        lambda: "TriedInCompose" in page("/?tour=0") and "Only a trial" in page("/?tour=0"),
        "the alert on the page",
        120,
    )
    response = httpx2.get(
        f"{ports.PROMETHEUS.url}/api/v1/alertmanagers", timeout=20, trust_env=False
    ).json()["data"]
    assert [alertmanager["url"] for alertmanager in response["activeAlertmanagers"]] == [
        "http://alertmanager:9093/api/v2/alerts"
    ]


def test_failed_purchase_is_followed_to_its_cause(project: ComposeProject) -> None:
    """A failed purchase appears as a row that leads to its spans, logs, exemplar and cause."""
    assert project.services
    assert buy("gateway-timeout").status_code == 303
    row = re.compile(
        r'href="(/trace/[0-9a-f]{32})[^"]*">POST /checkout</a>(?:(?!</tr>).)*?gateway timed out',
        re.DOTALL,
    )
    wait_until(
        lambda: row.search(page("/?tour=0&failed=1")) is not None, "the purchase to be a link"
    )
    path = row.findall(page("/?tour=0&failed=1"))[0]
    expected = (
        "because payment logged \"the bank's gateway did not answer",
        "POST /charges 504",
        "POST /checkout 500",
        "up to",
    )
    wait_until(lambda: all(text in page(path) for text in expected), "the whole trace")
    wait_until(
        lambda: (
            "<polyline" in page("/?tour=0") and "/checkout 500" in page("/?tour=0&severity=ERROR")
        ),
        "charts and logs",
    )

    def shows_call_to_payment() -> bool:
        # The service graph covers the last 30 s, so it may take another purchase.
        buy("ordinary")
        return 'id="edge-checkout-payment"' in page("/?tour=0")

    wait_until(shows_call_to_payment, "the service graph")
