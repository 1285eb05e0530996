"""The queries of every dashboard panel and variable, sent as Grafana sends them.

The tests of the full mode and those of the cluster call the functions ``assert_...``.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.end_to_end.conftest import Stack, wait_until
from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.http_clients import HttpClients

DASHBOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted(Path("grafana/dashboards").glob("*.json"))
}
ABSENT_WHEN_HEALTHY = {
    "otelcol_exporter_send_failed_": "appears with the first loss",
    "otelcol_exporter_enqueue_failed_": "appears with the first full queue",
}
"""Prefixes of metrics that do not exist in a healthy pipeline, so that their panels show 0; the
values say when they appear."""
RANGE_S = 900
URLS = HttpClients().urls
VARIABLES = {"service": ".+", "__rate_interval": "1m", "__range": "15m", "__auto": "10s"}
"""The values that the tests use for Grafana's variables; ``trace_id`` is added for each test."""

Target = dict[str, Any]


def targets() -> Iterator[Any]:
    """Yield every query of every panel as a test case, named by dashboard, panel and ``refId``."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield pytest.param(target, id=f"{name}: {panel['title']} {target['refId']}")


def targets_with_exemplars() -> list[Any]:
    """Return those of ``targets()`` for which Grafana asks for exemplars too."""
    return [parameter for parameter in targets() if parameter.values[0].get("exemplar")]


def query_backend(backend: str, path: str, **params: str | float) -> Any:  # noqa: ANN401  (JSON)
    """Return the JSON answer of a backend to a query; fail the test if its status is not 200."""
    response = httpx2.get(URLS[backend] + path, params=params, timeout=20, trust_env=False)
    assert response.status_code == 200, f"{params}: {response.text}"
    return response.json()


def query_prometheus(path: str, **params: str | float) -> list[Any]:
    """Return the series of the answer to a PromQL query; fail the test if its status is not 200.

    It is sent by POST, which is the ``httpMethod`` of the data source.
    """
    url = f"{URLS['prometheus']}/api/v1/{path}"
    response = httpx2.post(url, data=params, timeout=20, trust_env=False)
    assert response.status_code == 200, f"{params}: {response.text}"
    data = response.json()["data"]
    return list(data if path == "query_exemplars" else data["result"])


def substitute_variables(expression: str, trace_id: str) -> str:
    """Return ``expression`` with Grafana's variables replaced by ``VARIABLES`` and ``trace_id``."""
    for name, value in {**VARIABLES, "trace_id": trace_id}.items():
        expression = expression.replace(f"${{{name}}}", value).replace(f"${name}", value)
    assert not re.search(r"\$[a-z_{]", expression)
    return expression


async def failed_purchase() -> Purchase:
    """Buy once with a card for which the payment gateway times out; return the purchase."""
    async with checkout_client.client() as http:
        return await checkout_client.buy(http, "gateway-timeout")


def mixed_traffic(stack: Stack) -> str:
    """Buy for a minute with cards of every outcome; return the trace id of a failed purchase."""
    stack.demo(
        "traffic",
        "--rate",
        "3",
        "--for",
        "60s",
        "--card-mix",
        "ordinary=7,declined=1,gateway-timeout=1,slow=1",
    )
    return asyncio.run(failed_purchase()).trace_id


def promql_of(target: Target) -> str:
    """Return the query of a panel without ``or vector(0)``, its value for no events."""
    return str(target.get("expr", "")).replace(" or vector(0)", "")


def is_absent_when_healthy(target: Target) -> bool:
    """Return whether the query reads metrics of ``ABSENT_WHEN_HEALTHY``."""
    return any(name in promql_of(target) for name in ABSENT_WHEN_HEALTHY)


def assert_has_data(target: Target, trace_id: str) -> None:
    """Assert that a query soon returns data, also without its value for no events.

    A query that ``is_absent_when_healthy`` may have no data but this value.
    """
    expr = target["expr"] if is_absent_when_healthy(target) else promql_of(target)
    has_data_of = {
        "prometheus": prometheus_has_data,
        "loki": loki_has_data,
        "tempo": tempo_has_data,
    }
    has_data = has_data_of[target["datasource"]["uid"]]
    wait_until(lambda: has_data(target, expr, trace_id), f"data for {expr or target}")


def assert_has_exemplars(target: Target, trace_id: str) -> None:
    """Assert that the query returns exemplars, and that each of them has a trace id."""
    now = time.time()
    query = substitute_variables(target["expr"], trace_id)
    result = query_prometheus("query_exemplars", query=query, start=now - RANGE_S, end=now)
    assert result
    assert all(
        re.fullmatch(r"[0-9a-f]{32}", exemplar["labels"]["trace_id"])
        for series in result
        for exemplar in series["exemplars"]
    )


def assert_variables_have_values() -> None:
    """Assert that each variable offers both services, unless it is a text field."""
    for dashboard in DASHBOARDS.values():
        for variable in dashboard["templating"].get("list", []):
            if variable["type"] == "textbox":
                continue
            metric, label = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"])[0]
            values = query_backend(
                "prometheus", f"/api/v1/label/{label}/values", **{"match[]": metric}
            )["data"]
            assert {"checkout", "payment"} <= set(values)


def prometheus_has_data(target: Target, expr: str, trace_id: str) -> bool:
    """Return whether Prometheus returns data for the PromQL query ``expr``."""
    now = time.time()
    query = substitute_variables(expr, trace_id)
    if target.get("instant"):
        return bool(query_prometheus("query", query=query, time=now))
    params = {"start": now - RANGE_S, "end": now, "step": 15}
    return bool(query_prometheus("query_range", query=query, **params))


def loki_has_data(target: Target, expr: str, trace_id: str) -> bool:
    """Return whether Loki returns data for the LogQL query ``expr``."""
    now = time.time()
    query = substitute_variables(expr, trace_id)
    if target["queryType"] == "instant":
        return bool(
            query_backend("loki", "/loki/api/v1/query", query=query, time=now)["data"]["result"]
        )
    params = {"start": now - RANGE_S, "end": now, "step": 15}
    return bool(
        query_backend("loki", "/loki/api/v1/query_range", query=query, **params)["data"]["result"]
    )


def tempo_has_data(target: Target, _expr: str, trace_id: str) -> bool:
    """Return whether Tempo returns the trace, or a trace that matches the search.

    For the service graph, return whether the metrics that Tempo generates have all its edges.
    """
    if target["queryType"] == "serviceMap":
        edges = query_prometheus("query", query="traces_service_graph_request_total")
        return {("user", "checkout"), ("checkout", "payment")} <= {
            (edge["metric"]["client"], edge["metric"]["server"]) for edge in edges
        }
    query = substitute_variables(target["query"], trace_id)
    if query == trace_id:
        # A trace that is not stored yet is answered with 404, which is not an error of the query.
        return httpx2.get(
            f"{URLS['tempo']}/api/traces/{trace_id}", timeout=20, trust_env=False
        ).is_success
    now = int(time.time())
    return bool(
        query_backend(
            "tempo", "/api/search", q=query, start=now - RANGE_S, end=now + 1, limit=target["limit"]
        )["traces"]
    )
