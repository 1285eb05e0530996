"""The ``demo`` commands on a running stack: what they print, and what the backends then store."""

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
from three_pillar_demo.stack import ports
from three_pillar_demo.verify.check import poll_until

EXPORTERS = {"otlp_http/tempo", "otlp_http/loki", "otlp_http/prometheus"}


def test_a_failed_purchase_is_followed_to_its_reason(stack: Stack) -> None:
    """``demo follow`` prints span tree, log records, exemplars and reason in 80 columns."""
    bought = stack.demo("checkout", "--card", "gateway-timeout").stdout
    trace_id = re.search(r"demo follow ([0-9a-f]{32})", bought)
    assert trace_id
    output = stack.demo("follow", trace_id[1]).stdout
    # A search finds a trace two or three seconds later than a query by its id.
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
        assert part in output
    assert "Exemplars of this trace" in output
    assert "Why: checkout answered 500 gateway_timeout because payment" in output
    assert max(map(len, output.splitlines())) <= 80
    assert "\x1b" not in output


def test_status_as_json(stack: Stack) -> None:
    """``demo status --json`` contains the state, process id and memory of every component."""
    status = json.loads(stack.demo("status", "--json").stdout)
    assert status["running"]
    assert {component["state"] for component in status["components"]} == {"ready"}
    assert all(component["pid"] and component["memory_mib"] for component in status["components"])


def test_a_second_stack_is_refused(stack: Stack) -> None:
    """A second ``demo up`` is refused and leaves the running stack alone."""
    output = stack.demo("up", check=False)
    assert output.returncode == 1
    assert "a stack is already running" in output.stderr
    assert stack.demo("status").returncode == 0


def test_traffic_is_answered(stack: Stack) -> None:
    """``demo traffic`` sends the planned number of purchases and prints a summary."""
    output = stack.demo("traffic", "--rate", "5", "--for", "3s").stdout
    assert "Sent 15 in" in output


def test_the_documented_metrics_are_stored(stack: Stack) -> None:
    """Every metric in docs/reference/telemetry.md is stored with all its labels."""
    sources = {
        "telemetry/three_pillars/request_metrics.py",
        "the FastAPI instrumentation",
        "the HTTPX instrumentation",
    }

    async def labels(name: str, expected: set[str]) -> set[str]:
        series = name if name.endswith(("_total", "_requests")) else f"{name}_count"
        label_names = sorted(expected)
        async with stack.backends() as backends:
            counters = await backends.counters(series, label_names)
        return {
            label
            for values in counters
            for label, value in zip(label_names, values, strict=True)
            if value
        }

    async def missing() -> list[str]:
        return [
            name
            for name, expected in metrics(sources).items()
            if expected != await labels(name, expected)
        ]

    async def complete() -> bool:
        return not await missing()

    assert asyncio.run(poll_until(complete)), asyncio.run(missing())


@pytest.mark.full
def test_the_collectors_own_metrics_are_in_prometheus(stack: Stack) -> None:
    """The Collector's own metrics about exports and queues are in Prometheus."""
    assert stack

    async def complete() -> bool:
        async with HttpClients() as backends:
            sent = await backends.promql("otelcol_exporter_sent_spans_total")
            capacities = await backends.promql("otelcol_exporter_queue_capacity")
            return bool(sent) and {labels["exporter"] for labels, _ in capacities} == EXPORTERS

    assert asyncio.run(poll_until(complete))


@pytest.mark.full
def test_only_the_services_are_in_tempo(stack: Stack) -> None:
    """Tempo has only traces of the services, and none of the backends themselves."""
    since = time.time()  # other tests have sent spans of their own services
    stack.demo("checkout")

    async def search(query: str) -> list[str]:
        async with HttpClients() as backends:
            return [*await backends.traceql(query, since, time.time())]

    wait_until(
        lambda: bool(asyncio.run(search('{ resource.service.name = "checkout" }'))),
        "a trace of checkout",
    )
    assert asyncio.run(search('{ resource.service.name !~ "checkout|payment" }')) == []


@pytest.mark.full
def test_a_trace_query_is_not_split_fifty_times(stack: Stack) -> None:
    """Tempo splits a trace query into one or two internal requests, not into fifty."""
    trace_id = re.search("[0-9a-f]{32}", stack.demo("checkout").stdout)
    assert trace_id

    def internal_requests() -> float:
        text = httpx2.get(f"{ports.TEMPO.url}/metrics", timeout=20, trust_env=False).text
        counts = re.findall(
            r'^tempo_request_duration_seconds_count\{.*"querier_api_v2_traces_traceid".*\} (\S+)$',
            text,
            re.MULTILINE,
        )
        return sum(map(float, counts))

    requests_before = internal_requests()
    httpx2.get(f"{ports.TEMPO.url}/api/v2/traces/{trace_id[0]}", timeout=20, trust_env=False)
    assert 1 <= internal_requests() - requests_before <= 2


@pytest.mark.full
def test_loki_writes_only_to_its_data_folder(stack: Stack) -> None:
    """Loki writes its chunks into its data folder and nothing into the working folder."""
    stack.demo("checkout", "--card", "declined")
    files_before = sorted(path.name for path in ROOT.iterdir())
    assert httpx2.post(f"{ports.LOKI.url}/flush", timeout=60, trust_env=False).is_success
    chunks = stack.state / "data" / "loki" / "chunks"
    wait_until(
        lambda: any(path.is_file() for path in chunks.rglob("*")), "a chunk to be written out"
    )
    assert sorted(path.name for path in ROOT.iterdir()) == files_before


def test_the_tour_verifies_and_explains(stack: Stack) -> None:
    """The tour uses the running stack, verifies its purchases, and explains one failure."""
    output = stack.demo("tour").stdout
    assert f"Using the stack that runs: {'full' if FULL else 'local'}." in output
    assert "\nPASS\n" in output
    assert "Why: checkout answered" in output
    assert [line.split()[0] for line in output.splitlines()[-4:]] == [
        "Next",
        "Read",
        "Stop",
        "Web",
    ]


def test_the_tour_starts_the_local_stack(stack: Stack) -> None:
    """Without a running stack, the tour starts the local one and leaves it running."""
    if FULL:
        pytest.skip("the tour starts the local stack: make test")
    stack.down()
    output = stack.demo("tour").stdout
    assert output.startswith("Started payment, checkout, store, web in ")
    assert "\nPASS\n" in output
    assert stack.demo("status").returncode == 0
