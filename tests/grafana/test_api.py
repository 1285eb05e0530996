"""Grafana takes our files without an error, and every panel's question gives data through it."""

import json
import time
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.end_to_end.conftest import poll_until
from tests.end_to_end.test_dashboards import BOARDS, filled, targets

Target = dict[str, Any]


def get(grafana: str, path: str) -> Any:  # noqa: ANN401  (JSON)
    """What a visitor without a login is told."""
    return httpx2.get(grafana + path, timeout=20, trust_env=False).raise_for_status().json()


@pytest.fixture(scope="module")
def trace_id(grafana: str) -> str:
    """The newest failed purchase; there has to be one, so one is bought."""
    assert grafana
    card = {
        "items": [{"sku": "tea", "quantity": 1, "unit_price": "4.50"}],
        "currency": "EUR",
        "card": "gateway-timeout",
    }
    answer = httpx2.post("http://127.0.0.1:8000/checkout", json=card, timeout=60, trust_env=False)
    return str(answer.json()["trace_id"])


def test_it_is_healthy(grafana: str) -> None:
    """Its database works."""
    assert get(grafana, "/api/health")["database"] == "ok"


def test_provisioning_says_no_error(grafana: str, log: str) -> None:
    """Data sources and dashboards are there under their uids, and nothing was wrong with a file."""
    for uid in ("prometheus", "tempo", "loki"):
        assert get(grafana, f"/api/datasources/uid/{uid}")["readOnly"]
    assert {each["uid"] for each in get(grafana, "/api/search?type=dash-db")} >= BOARDS.keys()
    assert [
        line for line in log.splitlines() if "provisioning" in line and "level=error" in line
    ] == []


def is_search(target: Target) -> bool:
    """Whether it is one that the browser sends to Tempo through Grafana's proxy, and not to Grafana's query API."""
    return target.get("queryType") == "traceql" and target["query"] != "${trace_id}"


@pytest.mark.parametrize("target", [each for each in targets() if is_search(each.values[0])])
def test_searches_find_traces(grafana: str, trace_id: str, target: Target) -> None:
    """Each search, asked as the browser asks it."""
    query = quote(filled(target["query"], trace_id))
    poll_until(
        lambda: get(grafana, f"/api/datasources/proxy/uid/tempo/api/search?q={query}")["traces"],
        f"traces for {query}",
    )


@pytest.mark.parametrize("target", [each for each in targets() if not is_search(each.values[0])])
def test_its_own_queries_give_frames_with_data(grafana: str, trace_id: str, target: Target) -> None:
    """Each panel's question, asked as the browser asks it."""
    query = {**target, "maxDataPoints": 200, "intervalMs": 10000}
    query |= {key: filled(query[key], trace_id) for key in ("expr", "query") if key in query}
    if target.get("queryType") == "serviceMap":  # the browser turns it into questions to Prometheus
        query = {
            "refId": "A",
            "datasource": {"uid": "prometheus"},
            "expr": "traces_service_graph_request_total",
            "instant": True,
        }
    if target.get("query") == "${trace_id}":
        query |= {"queryType": "traceId"}  # so does the browser, when a query is a trace id

    def has_data() -> bool:
        now = int(time.time() * 1000)
        body = {"from": str(now - 900_000), "to": str(now), "queries": [query]}
        answer = httpx2.post(
            f"{grafana}/api/ds/query",
            content=json.dumps(body),
            headers=JSON,
            timeout=20,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        frames = answer.json()["results"][query["refId"]].get("frames", [])
        return any(values for frame in frames for values in frame["data"]["values"])

    poll_until(has_data, f"frames for {query}")


JSON = {"content-type": "application/json"}
