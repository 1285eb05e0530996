"""Every question of every panel and variable, asked of the backends themselves on live data."""

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

BOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted(Path("grafana/dashboards").glob("*.json"))
}
RIGHTLY_EMPTY = {
    "otelcol_exporter_send_failed_": "begins with the first loss",
    "otelcol_exporter_enqueue_failed_": "begins with the first full queue",
}
"""What a metric's name begins with, and why there is none in a healthy house: the panel shows 0."""
SECONDS = 900
URLS = HttpClients().urls
KNOWN = {"service": ".+", "__rate_interval": "1m", "__range": "15m", "__auto": "10s"}
"""What Grafana would put in; the trace id is added."""

pytestmark = pytest.mark.full
Target = dict[str, Any]


def targets() -> Iterator[Any]:
    """Every question of every panel, with its place."""
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield pytest.param(target, id=f"{name}: {panel['title']} {target['refId']}")


def ask(backend: str, path: str, **params: str | float) -> Any:  # noqa: ANN401  (JSON)
    """One question; an answer that is not 200 is a failure, with what was said."""
    answer = httpx2.get(URLS[backend] + path, params=params, timeout=20, trust_env=False)
    assert answer.status_code == 200, f"{params}: {answer.text}"
    return answer.json()


def filled(expression: str, trace_id: str) -> str:
    """The expression, with what Grafana would put in."""
    for name, value in {**KNOWN, "trace_id": trace_id}.items():
        expression = expression.replace(f"${{{name}}}", value).replace(f"${name}", value)
    assert not re.search(r"\$[a-z_{]", expression)
    return expression


async def failed_purchase() -> Purchase:
    """Buy with a card whose bank does not answer."""
    async with checkout_client.client() as http:
        return await checkout_client.buy(http, "gateway-timeout")


@pytest.fixture(scope="module")
def trace_id(stack: Stack) -> str:
    """A minute of customers, some of whom fail; one of those."""
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


@pytest.mark.parametrize("target", [*targets()])
def test_it_has_data(target: Target, trace_id: str) -> None:
    """The question is understood and answered with data, also without the 0 that stands for what never happened."""
    expr = target.get("expr", "").replace(" or vector(0)", "")
    if any(name in expr for name in RIGHTLY_EMPTY):
        assert not prometheus(target, expr, trace_id)
        assert prometheus(target, target["expr"], trace_id)
        return
    asked = {"prometheus": prometheus, "loki": loki, "tempo": tempo}[target["datasource"]["uid"]]
    wait_until(lambda: asked(target, expr, trace_id), f"data for {expr or target}")


@pytest.mark.parametrize("target", [each for each in targets() if each.values[0].get("exemplar")])
def test_it_has_exemplars(target: Target, trace_id: str) -> None:
    """Dots are on the panel, each with the id of a trace."""
    now = time.time()
    query = filled(target["expr"], trace_id)
    found = ask("prometheus", "/api/v1/query_exemplars", query=query, start=now - SECONDS, end=now)[
        "data"
    ]
    assert found
    assert all(
        re.fullmatch(r"[0-9a-f]{32}", each["labels"]["trace_id"])
        for series in found
        for each in series["exemplars"]
    )


def test_variables_have_values(trace_id: str) -> None:
    """Each variable offers both services, or is a field that a person fills in."""
    assert trace_id
    for board in BOARDS.values():
        for variable in board["templating"].get("list", []):
            if variable["type"] == "textbox":
                continue
            metric, label = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"])[0]
            found = ask("prometheus", f"/api/v1/label/{label}/values", **{"match[]": metric})[
                "data"
            ]
            assert {"checkout", "payment"} <= set(found)


def prometheus(target: Target, expr: str, trace_id: str) -> bool:
    """Whether Prometheus has data."""
    now = time.time()
    query = filled(expr, trace_id)
    if target.get("instant"):
        return bool(ask("prometheus", "/api/v1/query", query=query, time=now)["data"]["result"])
    params = {"start": now - SECONDS, "end": now, "step": 15}
    return bool(ask("prometheus", "/api/v1/query_range", query=query, **params)["data"]["result"])


def loki(target: Target, expr: str, trace_id: str) -> bool:
    """Whether Loki has data."""
    now = time.time()
    query = filled(expr, trace_id)
    if target["queryType"] == "instant":
        return bool(ask("loki", "/loki/api/v1/query", query=query, time=now)["data"]["result"])
    params = {"start": now - SECONDS, "end": now, "step": 15}
    return bool(ask("loki", "/loki/api/v1/query_range", query=query, **params)["data"]["result"])


def tempo(target: Target, _expr: str, trace_id: str) -> bool:
    """Whether Tempo has the trace or finds one; for the service map, whether its generator has drawn all edges."""
    if target["queryType"] == "serviceMap":
        edges = ask("prometheus", "/api/v1/query", query="traces_service_graph_request_total")[
            "data"
        ]["result"]
        return {("user", "checkout"), ("checkout", "payment")} <= {
            (e["metric"]["client"], e["metric"]["server"]) for e in edges
        }
    query = filled(target["query"], trace_id)
    if query == trace_id:
        # Not there yet is no wrong question.
        return httpx2.get(
            f"{URLS['tempo']}/api/traces/{trace_id}", timeout=20, trust_env=False
        ).is_success
    now = int(time.time())
    return bool(
        ask(
            "tempo", "/api/search", q=query, start=now - SECONDS, end=now + 1, limit=target["limit"]
        )["traces"]
    )
