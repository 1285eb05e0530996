"""The cluster keeps the promises of one machine, also while one of its processes is down."""

import json
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import yaml

from tests.cluster.conftest import MODE
from tests.end_to_end.conftest import Stack, wait_until
from three_pillar_demo.chaos.plan import CLUSTER_OUTAGES
from three_pillar_demo.stack import ports

pytestmark = pytest.mark.timeout(400)

ALERT_NAMES = {
    rule["alert"]
    for group in yaml.safe_load(Path("config/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
MAX_MEMORY_MIB = 5 * 1024
KILLED = [rehearsal.name for rehearsal in CLUSTER_OUTAGES if MODE in rehearsal.modes]


def ask_thanos(path: str, **parameters: str) -> httpx2.Response:
    """Send a query to the address at which all questions about metrics are asked."""
    return httpx2.get(
        f"{ports.PROMETHEUS.url}/api/v1/{path}", params=parameters, timeout=30, trust_env=False
    )


def purchases_by_instance() -> dict[str, float]:
    """Return the number of purchases that each process of checkout has counted."""
    response = ask_thanos("query", query="sum by (instance) (checkout_requests_total)")
    assert response.status_code == 200, response.text
    result: list[dict[str, Any]] = response.json()["data"]["result"]
    return {item["metric"]["instance"]: float(item["value"][1]) for item in result}


def test_every_purchase_is_accounted_for(cluster: Stack) -> None:
    """All counts and log records are there, and each trace that the rule keeps, and no other."""
    result = cluster.demo("verify", check=False, seconds=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "sampled out" in " ".join(result.stdout.split())


def test_two_processes_share_the_port_of_a_service(cluster: Stack) -> None:
    """Purchases are served by each of two processes, and counted once by one of them."""
    before = sum(purchases_by_instance().values()) if purchases_by_instance() else 0.0
    cluster.demo("traffic", "--rate", "10", "--for", "4s")
    parent = psutil.Process(cluster.run()["components"]["checkout"]["pid"])
    workers = [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    for worker in workers:
        # On a busy machine the same process may accept every connection. While it is suspended, the
        # other one does.
        worker.suspend()
        try:
            answer = httpx2.post(
                f"{ports.CHECKOUT.url}/checkout", json={"card": "declined"}, trust_env=False
            )
        finally:
            worker.resume()
        assert answer.status_code == 402, answer.text

    def total() -> float:
        return sum(purchases_by_instance().values())

    wait_until(lambda: total() >= before + 42, "42 more purchases to be counted")
    assert total() == before + 42
    assert len(purchases_by_instance()) >= 2


def test_exemplars_are_asked_where_metrics_are(cluster: Stack) -> None:
    """Thanos answers the query for exemplars, each once although three processes have it."""
    cluster.demo("checkout", "--card", "gateway-timeout", check=False)

    def exemplars() -> list[tuple[str, str, float]]:
        response = ask_thanos(
            "query_exemplars",
            query="http_server_request_duration_seconds_bucket",
            start=str(time.time() - 600),
            end=str(time.time()),
        )
        assert response.status_code == 200, response.text
        return [
            (json.dumps(series["seriesLabels"]), item["labels"]["trace_id"], item["timestamp"])
            for series in response.json()["data"]
            for item in series["exemplars"]
        ]

    wait_until(lambda: bool(exemplars()), "an exemplar")
    found = exemplars()
    assert len(found) == len(set(found))


def test_a_question_without_a_part_of_the_answer_is_an_error(cluster: Stack) -> None:
    """While one process with metrics is down, a query is refused; afterwards it is answered."""
    cluster.demo("kill", "thanos-receive-2")
    try:
        wait_until(
            lambda: ask_thanos("query", query="checkout_requests_total").status_code != 200,
            "a query to be refused",
        )
        # Also after Thanos has noticed that the process is away, which takes it 5 s.
        until = time.monotonic() + 8
        while time.monotonic() < until:
            assert ask_thanos("query", query="checkout_requests_total").status_code != 200
            time.sleep(0.5)
    finally:
        cluster.demo("start", "thanos-receive-2")
    wait_until(
        lambda: ask_thanos("query", query="checkout_requests_total").status_code == 200,
        "queries to be answered again",
    )


def test_alerts_are_evaluated(cluster: Stack) -> None:
    """Figures are recorded by the rules, and an alert about failed purchases is sent."""
    for _ in range(4):
        cluster.demo("checkout", "--card", "gateway-timeout", check=False)

    def recorded() -> list[Any]:
        found = ask_thanos("query", query="job_route:http_errors:ratio_rate5m").json()
        series: list[Any] = found["data"]["result"]
        return series

    def names() -> set[str]:
        answer = httpx2.get(f"{ports.ALERTMANAGER.url}/api/v2/alerts", trust_env=False)
        return {alert["labels"]["alertname"] for alert in answer.json()}

    wait_until(lambda: bool(recorded()), "a recorded figure", seconds=120)
    wait_until(lambda: bool(names()), "an alert", seconds=240)
    assert names() <= ALERT_NAMES


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_process_costs_nothing(cluster: Stack, name: str) -> None:
    """One process killed under load: no item lost, no partial answer, and no dead exemplar."""
    result = cluster.demo("rehearse", name, "--json", seconds=390, check=False)
    assert result.stdout, result.stderr
    (rehearsal,) = json.loads(result.stdout)["rehearsals"]
    assert rehearsal["problems"] == [], rehearsal
    assert rehearsal["purchases"] > 0
    assert rehearsal["exemplars"] > 0
    assert cluster.demo("status", check=False).returncode == 0


def test_its_memory_is_bounded(cluster: Stack) -> None:
    """All processes together stay below 5 GiB, after all that the other tests have sent."""
    status = json.loads(cluster.demo("status", "--json").stdout)
    memory = {row["component"]: row["memory_mib"] for row in status["components"]}
    assert sum(memory.values()) < MAX_MEMORY_MIB, memory
