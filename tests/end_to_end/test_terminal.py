"""What a person types and sees."""

import asyncio
import json
import re
import time

import httpx2
import pytest

from tests.end_to_end.conftest import FULL, Stack, wait_until
from tests.test_docs import metrics
from three_pillar_demo.paths import ROOT
from three_pillar_demo.query.http_clients import HttpClients
from three_pillar_demo.verify.check import poll_until

EXPORTERS = {"otlp_http/tempo", "otlp_http/loki", "otlp_http/prometheus"}


def test_a_failed_purchase_is_followed_to_its_reason(stack: Stack) -> None:
    """Buy, fail, follow: the tree, the lines of both services, the exemplar and the reason, plain and in 80 columns."""
    bought = stack.demo("checkout", "--card", "gateway-timeout").stdout
    trace_id = re.search(r"demo follow ([0-9a-f]{32})", bought)
    assert trace_id
    told = stack.demo("follow", trace_id[1]).stdout
    # It can be searched for a second or two after it can be had by its id.
    wait_until(
        lambda: trace_id[1] in stack.demo("follow", "--last-error").stdout,
        "the newest failure to be found",
    )
    for part in (
        "place order",
        "POST /charges",
        "POST /checkout 500 gateway_timeout",
        "POST /charges 504 gateway_timeout",
    ):
        assert part in told
    assert "Exemplars of this trace" in told
    assert "Why: checkout answered 500 gateway_timeout because payment" in told
    assert max(map(len, told.splitlines())) <= 80
    assert "\x1b" not in told


def test_status_tells_scripts_what_runs(stack: Stack) -> None:
    """``demo status --json`` is one object with every component, its pid, memory and log."""
    said = json.loads(stack.demo("status", "--json").stdout)
    assert said["running"]
    assert {each["state"] for each in said["components"]} == {"ready"}
    assert all(each["pid"] and each["memory_mib"] for each in said["components"])


def test_a_second_stack_is_refused(stack: Stack) -> None:
    """Running ``up`` twice says who runs already, and disturbs nothing."""
    said = stack.demo("up", check=False)
    assert said.returncode == 1
    assert "a stack is already running" in said.stderr
    assert stack.demo("status").returncode == 0


def test_traffic_is_answered(stack: Stack) -> None:
    """Customers at a steady rate are all served, and the summary says how."""
    said = stack.demo("traffic", "--rate", "5", "--for", "3s").stdout
    assert "Sent 15 in" in said


def test_the_metrics_of_the_vocabulary_are_there(stack: Stack) -> None:
    """Every metric that docs/reference/telemetry.md names is stored under Prometheus' name for it, with those labels."""
    makers = {
        "telemetry/three_pillars/request_recorder.py",
        "the FastAPI instrumentation",
        "the HTTPX instrumentation",
    }

    async def labels(name: str, wanted: set[str]) -> set[str]:
        series, by = (
            name if name.endswith(("_total", "_requests")) else f"{name}_count",
            sorted(wanted),
        )
        async with stack.backends() as backends:
            found = await backends.counters(series, by)
        return {label for values in found for label, value in zip(by, values, strict=True) if value}

    async def missing() -> list[str]:
        return [
            name for name, wanted in metrics(makers).items() if wanted != await labels(name, wanted)
        ]

    async def complete() -> bool:
        return not await missing()

    assert asyncio.run(poll_until(complete)), asyncio.run(missing())


@pytest.mark.full
def test_the_collectors_own_figures_are_in_prometheus(stack: Stack) -> None:
    """The Collector tells Prometheus what it received, sent and holds, so that the pipeline itself can be judged."""
    assert stack

    async def complete() -> bool:
        async with HttpClients() as backends:
            sent = await backends.promql("otelcol_exporter_sent_spans_total")
            room = await backends.promql("otelcol_exporter_queue_capacity")
            return bool(sent) and {labels["exporter"] for labels, _ in room} == EXPORTERS

    assert asyncio.run(poll_until(complete))


@pytest.mark.full
def test_nobody_but_the_shop_is_in_tempo(stack: Stack) -> None:
    """No backend traces itself into our Tempo: what a person searches there is what customers did."""
    stack.demo("checkout")

    async def found(query: str) -> list[str]:
        async with HttpClients() as backends:
            return [*await backends.traceql(query, time.time() - 900, time.time())]

    wait_until(
        lambda: bool(asyncio.run(found('{ resource.service.name = "checkout" }'))),
        "the shop to be found",
    )
    tests = "wide|leaky|outspoken|unknown_service"  # who else tells in the tests beside this one
    assert asyncio.run(found(f'{{ resource.service.name !~ "checkout|payment|{tests}" }}')) == []


@pytest.mark.full
def test_a_trace_is_not_asked_for_fifty_times(stack: Stack) -> None:
    """For one trace Tempo asks itself as seldom as it can: by default fifty times, and each waits for its turn."""
    found = re.search("[0-9a-f]{32}", stack.demo("checkout").stdout)
    assert found

    def asked() -> float:
        told = httpx2.get("http://127.0.0.1:3200/metrics", timeout=20, trust_env=False).text
        counts = re.findall(
            r'^tempo_request_duration_seconds_count\{.*"querier_api_v2_traces_traceid".*\} (\S+)$',
            told,
            re.MULTILINE,
        )
        return sum(map(float, counts))

    before = asked()
    httpx2.get(f"http://127.0.0.1:3200/api/v2/traces/{found[0]}", timeout=20, trust_env=False)
    assert 1 <= asked() - before <= 2


@pytest.mark.full
def test_loki_keeps_its_chunks_with_its_data(stack: Stack) -> None:
    """What Loki writes out lies in its data folder, and nothing of it in the directory that the stack was started from."""
    stack.demo("checkout", "--card", "declined")
    before = sorted(each.name for each in ROOT.iterdir())
    assert httpx2.post("http://127.0.0.1:3100/flush", timeout=60, trust_env=False).is_success
    chunks = stack.state / "data" / "loki" / "chunks"
    wait_until(
        lambda: any(each.is_file() for each in chunks.rglob("*")), "a chunk to be written out"
    )
    assert sorted(each.name for each in ROOT.iterdir()) == before


def test_the_tour_proves_and_explains(stack: Stack) -> None:
    """The guided run takes the stack that runs, proves its purchases, says why one failed, and what to type next."""
    said = stack.demo("tour").stdout
    assert f"Using the stack that runs: {'full' if FULL else 'local'}." in said
    assert "\nPASS\n" in said
    assert "Why: checkout answered" in said
    assert [line.split()[0] for line in said.splitlines()[-4:]] == ["Next", "Look", "Stop", "Page"]


def test_the_tour_starts_what_is_not_running(stack: Stack) -> None:
    """Without a stack the guided run starts the embedded one, in the background, and leaves it running."""
    if FULL:
        pytest.skip("the tour starts the embedded stack: make test")
    stack.down()
    said = stack.demo("tour").stdout
    assert said.startswith("Started payment, checkout, store, web in ")
    assert "\nPASS\n" in said
    assert stack.demo("status").returncode == 0
