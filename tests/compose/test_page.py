"""The page in its container: on loopback, for its own visitors only, with what the three backends really hold."""

import re
from html import unescape

import httpx2
import pytest

from tests.compose import engine
from tests.compose.conftest import House
from tests.end_to_end.conftest import poll_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
PAGE = "http://127.0.0.1:8080"
BACKENDS = ("tempo", "loki", "prometheus", "otel-collector", "alertmanager")
FOREIGN = (
    {"host": "evil.test"},
    {"host": "web:8080"},
    {"host": "127.0.0.1:8080", "origin": "http://evil.test"},
)


def page(path: str) -> str:
    """What a visitor on the host reads."""
    return unescape(httpx2.get(PAGE + path, timeout=20, trust_env=False).raise_for_status().text)


def test_it_is_healthy_and_asks_all(house: House) -> None:
    """The container is healthy; its strip says which mode runs, that the backends are up, and what the Collector queues."""
    assert "web" in house.services
    assert engine.inspect(engine.containers()["web"])["State"]["Health"]["Status"] == "healthy"
    poll_until(
        lambda: all(
            f'<span class="part" id="part-{name}"' in page("/?tour=0") for name in BACKENDS
        ),
        "all to be up",
    )
    poll_until(
        lambda: re.search(r"tempo <b>\d+</b>", page("/?tour=0")) is not None,
        "the Collector's queues",
    )
    assert '<b class="mode">compose</b>' in page("/?tour=0")


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: str(list(headers.values())[-1]))
def test_it_is_for_its_own_visitors(house: House, headers: dict[str, str]) -> None:
    """Another name, the container's own one included, and another page's form are refused from the host too."""
    assert house.services
    answer = httpx2.post(
        f"{PAGE}/buy", data={"card": "ordinary"}, headers=headers, timeout=20, trust_env=False
    )
    assert answer.status_code == (403 if "origin" in headers else 421)


def test_an_alert_goes_through_alertmanager_to_the_page(house: House) -> None:
    """Prometheus has found Alertmanager by its name there, and what Alertmanager is told rings on the page."""
    assert "alertmanager" in house.services
    told = [
        {
            "labels": {"alertname": "TriedInCompose", "severity": "page"},
            "annotations": {"summary": "Only a trial"},
        }
    ]
    httpx2.post(
        "http://127.0.0.1:9093/api/v2/alerts", json=told, timeout=20, trust_env=False
    ).raise_for_status()
    poll_until(
        lambda: "TriedInCompose" in page("/?tour=0") and "Only a trial" in page("/?tour=0"),
        "the page to ring",
        120,
    )
    known = httpx2.get(
        "http://127.0.0.1:9090/api/v1/alertmanagers", timeout=20, trust_env=False
    ).json()["data"]
    assert [each["url"] for each in known["activeAlertmanagers"]] == [
        "http://alertmanager:9093/api/v2/alerts"
    ]


def test_a_purchase_is_followed_to_its_reason(house: House) -> None:
    """What is bought there becomes a row, and its request has spans and lines of both services, an exemplar, and a reason."""
    assert house.services
    answer = httpx2.post(
        f"{PAGE}/buy", data={"card": "gateway-timeout"}, timeout=20, trust_env=False
    )
    assert answer.status_code == 303
    row = re.compile(r'<td class="bad">gateway_timeout.*?href="(/trace/[0-9a-f]{32})')
    poll_until(
        lambda: row.search(page("/?tour=0&failed=1")) is not None, "the purchase to be a link"
    )
    path = row.findall(page("/?tour=0&failed=1"))[0]
    whole = (
        "because payment logged \"the bank's gateway did not answer",
        "POST /charges 504",
        "POST /checkout 500",
        "up to",
    )
    poll_until(lambda: all(said in page(path) for said in whole), "the request to be whole")
    poll_until(
        lambda: (
            "<polyline" in page("/?tour=0") and "/checkout 500" in page("/?tour=0&severity=ERROR")
        ),
        "charts and lines",
    )

    def calls() -> bool:  # of the last 30 s, so it may take one purchase more
        httpx2.post(f"{PAGE}/buy", data={"card": "ordinary"}, timeout=20, trust_env=False)
        return 'id="edge-checkout-payment"' in page("/?tour=0")

    poll_until(calls, "who calls whom")
