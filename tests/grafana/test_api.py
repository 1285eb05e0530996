"""A running Grafana: its provisioning has no error, and every panel has data."""

import json
import time
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.dashboards import DASHBOARDS, substitute_variables, targets
from tests.end_to_end.conftest import wait_until
from three_pillar_demo.stack import ports

Target = dict[str, Any]
JSON = {"content-type": "application/json"}


def get(grafana: str, path: str) -> Any:  # noqa: ANN401  (JSON)
    """Return the JSON answer of Grafana's API to a visitor without a login."""
    return httpx2.get(grafana + path, timeout=20, trust_env=False).raise_for_status().json()


@pytest.fixture(scope="module")
def trace_id(grafana: str) -> str:
    """The trace id of a failed purchase, for which the payment gateway timed out."""
    assert grafana
    basket = {
        "items": [{"sku": "tea", "quantity": 1, "unit_price": "4.50"}],
        "currency": "EUR",
        "card": "gateway-timeout",
    }
    response = httpx2.post(
        f"{ports.CHECKOUT.url}/checkout", json=basket, timeout=60, trust_env=False
    )
    return str(response.json()["trace_id"])


def test_grafana_is_healthy(grafana: str) -> None:
    """The health check of Grafana reports a working database."""
    assert get(grafana, "/api/health")["database"] == "ok"


def test_provisioning_has_no_error(grafana: str, log: str) -> None:
    """All data sources and dashboards are provisioned, without an error in the log."""
    for uid in ("prometheus", "tempo", "loki"):
        assert get(grafana, f"/api/datasources/uid/{uid}")["readOnly"]
    assert {
        dashboard["uid"] for dashboard in get(grafana, "/api/search?type=dash-db")
    } >= DASHBOARDS.keys()
    assert [
        line for line in log.splitlines() if "provisioning" in line and "level=error" in line
    ] == []


def is_search(target: Target) -> bool:
    """Return whether Grafana's page sends this query to Tempo as a search, through the proxy."""
    return target.get("queryType") == "traceql" and target["query"] != "${trace_id}"


@pytest.mark.parametrize("target", [case for case in targets() if is_search(case.values[0])])
def test_searches_find_traces(grafana: str, trace_id: str, target: Target) -> None:
    """Each Tempo search of a panel finds traces when sent as Grafana's page sends it."""
    query = quote(substitute_variables(target["query"], trace_id))
    wait_until(
        lambda: get(grafana, f"/api/datasources/proxy/uid/tempo/api/search?q={query}")["traces"],
        f"traces for {query}",
    )


@pytest.mark.parametrize("target", [case for case in targets() if not is_search(case.values[0])])
def test_queries_return_data_frames(grafana: str, trace_id: str, target: Target) -> None:
    """Each other query of a panel returns data when sent as Grafana's page sends it."""
    query = {**target, "maxDataPoints": 200, "intervalMs": 10000}
    query |= {
        key: substitute_variables(query[key], trace_id) for key in ("expr", "query") if key in query
    }
    if target.get("queryType") == "serviceMap":  # the browser sends queries to Prometheus instead
        query = {
            "refId": "A",
            "datasource": {"uid": "prometheus"},
            "expr": "traces_service_graph_request_total",
            "instant": True,
        }
    if target.get("query") == "${trace_id}":
        query |= {"queryType": "traceId"}  # as the browser does when the query is a trace id

    def has_data() -> bool:
        now = int(time.time() * 1000)
        body = {"from": str(now - 900_000), "to": str(now), "queries": [query]}
        response = httpx2.post(
            f"{grafana}/api/ds/query",
            content=json.dumps(body),
            headers=JSON,
            timeout=20,
            trust_env=False,
        )
        assert response.status_code == 200, response.text
        frames = response.json()["results"][query["refId"]].get("frames", [])
        return any(values for frame in frames for values in frame["data"]["values"])

    wait_until(has_data, f"frames for {query}")
