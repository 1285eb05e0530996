"""The gateway keeps the traces that its file names, and the services can tell which these are."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.deploy.tiers import Tier, run_agent, run_gateway
from tests.processes import InMemoryCollector, run_collector, wait_for
from three_pillars.tail_sampling import KeptTracesFilter, TailSampling

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

PERCENTAGE = 7.5
SALT = "salt-of-the-test"
TRACES = 100_000
TRACES_PER_REQUEST = 2_000
SECOND_NS = 1_000_000_000
DECISIONS = "otelcol_processor_tail_sampling_global_count_traces_sampled"
IDENTITY = {"service.name": "sender", "service.instance.id": "1"}


@pytest.fixture(scope="module")
def backend() -> Iterator[InMemoryCollector]:
    """The receiver in place of all backends."""
    with run_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def gateway(backend: InMemoryCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """A gateway with variables of its own for the share."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    variables = {"TAIL_SAMPLING_PERCENTAGE": str(PERCENTAGE), "TAIL_SAMPLING_HASH_SALT": SALT}
    with run_gateway(folder, backend.url, **variables) as gateway:
        yield gateway


def new_span(trace_id: int, seconds: float = 0.01, status: int = 200) -> Span:
    """Return a span of a request that has just ended."""
    end = time.time_ns()
    span = Span(
        trace_id=trace_id.to_bytes(16),
        span_id=random.randbytes(8),  # noqa: S311
        name="GET /",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=end - round(seconds * SECOND_NS),
        end_time_unix_nano=end,
    )
    span.attributes.add(key="http.response.status_code").value.int_value = status
    return span


def send(gateway: Tier, *spans: Span) -> None:
    """Send ``spans`` to ``gateway`` in one request."""
    message = ExportTraceServiceRequest()
    resource_spans = message.resource_spans.add()
    for key, value in IDENTITY.items():
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    resource_spans.scope_spans.add().spans.extend(spans)
    post(gateway, "traces", message.SerializeToString())


def post(gateway: Tier, signal: str, body: bytes) -> None:
    """Send the OTLP request ``body`` for ``signal`` to ``gateway``."""
    response = httpx2.post(
        f"{gateway.url}/v1/{signal}",
        content=body,
        headers={"content-type": "application/x-protobuf"},
        timeout=60,
        trust_env=False,
    )
    assert response.status_code == httpx2.codes.OK, response.text


def kept(backend: InMemoryCollector) -> set[str]:
    """Return the trace ids that have arrived at the backend."""
    return {trace_id for _, trace_id in backend.spans}


def test_share_is_that_of_the_services(gateway: Tier, backend: InMemoryCollector) -> None:
    """Of 100,000 traces the gateway keeps exactly those that a service says it will keep."""
    rule = KeptTracesFilter(TailSampling(PERCENTAGE, SALT, 1000))
    numbers = random.Random(20)  # noqa: S311
    ids = [numbers.getrandbits(128) for _ in range(TRACES)]
    for first in range(0, TRACES, TRACES_PER_REQUEST):
        send(gateway, *map(new_span, ids[first : first + TRACES_PER_REQUEST]))
    # The gateway decides in the order of arrival, so that this one is the last.
    last = numbers.getrandbits(128)
    send(gateway, new_span(last, status=500))
    wait_for("the last trace", lambda: f"{last:032x}" in kept(backend))
    expected = {f"{trace_id:032x}" for trace_id in ids if rule.is_in_share(trace_id)}

    def all_arrived() -> bool:
        return expected <= kept(backend)

    wait_for("the traces of the share", all_arrived)
    assert kept(backend) & {f"{trace_id:032x}" for trace_id in ids} == expected


def outside_of_the_share(count: int) -> list[int]:
    """Return ``count`` trace ids that do not belong to the share."""
    rule = KeptTracesFilter(TailSampling(PERCENTAGE, SALT, 1000))
    numbers = random.Random()  # noqa: S311
    found: list[int] = []
    while len(found) < count:
        trace_id = numbers.getrandbits(128)
        if not rule.is_in_share(trace_id):
            found.append(trace_id)
    return found


def test_failed_and_slow_traces_are_kept(gateway: Tier, backend: InMemoryCollector) -> None:
    """Every trace with an error, with a status from 500 on, or over a second is kept; no other."""
    error, answered_500, slow, quick, refused, almost_slow = outside_of_the_share(6)
    span = new_span(error)
    span.status.code = Status.STATUS_CODE_ERROR
    send(
        gateway,
        new_span(quick),
        new_span(refused, status=499),
        new_span(almost_slow, seconds=0.999),
        span,
        new_span(answered_500, status=500),
        new_span(slow, seconds=1.001),
    )
    expected = {f"{trace_id:032x}" for trace_id in (error, answered_500, slow)}
    wait_for("the three traces", lambda: expected <= kept(backend))
    sent = {*expected, *(f"{trace_id:032x}" for trace_id in (quick, refused, almost_slow))}
    assert kept(backend) & sent == expected


def test_failures_are_kept_after_the_decision(backend: InMemoryCollector, tmp_path: Path) -> None:
    """A trace that fails after its first spans were dropped is kept from there on."""
    share = {"TAIL_SAMPLING_PERCENTAGE": "0"}
    with run_gateway(tmp_path, backend.url, decision_wait="1s", **share) as gateway:
        send(gateway, new_span(1))
        wait_for(
            "the trace to be dropped",
            lambda: gateway.own_metric(DECISIONS, 'decision="not_sampled"') == 1,
        )
        send(gateway, new_span(1, status=500))
        wait_for("the failure", lambda: f"{1:032x}" in kept(backend))


def test_agent_finds_gateways_by_name(
    gateway: Tier, backend: InMemoryCollector, tmp_path: Path
) -> None:
    """An agent with its file as it is looks up the name of the gateways, and sends to them."""
    (trace_id,) = outside_of_the_share(1)
    with run_agent(tmp_path, [gateway]) as agent:
        send(agent, new_span(trace_id, status=503))
        wait_for("the trace", lambda: f"{trace_id:032x}" in kept(backend))


def test_logs_and_metrics_are_not_sampled(gateway: Tier, backend: InMemoryCollector) -> None:
    """The log records and the counts of a trace that is dropped all arrive."""
    ids = outside_of_the_share(50)
    logs = ExportLogsServiceRequest()
    metrics = ExportMetricsServiceRequest()
    resource_logs = logs.resource_logs.add()
    resource_metrics = metrics.resource_metrics.add()
    for key, value in IDENTITY.items():
        resource_logs.resource.attributes.add(key=key).value.string_value = value
        resource_metrics.resource.attributes.add(key=key).value.string_value = value
    records = resource_logs.scope_logs.add().log_records
    for trace_id in ids:
        records.add(time_unix_nano=time.time_ns(), trace_id=trace_id.to_bytes(16))
    metric = resource_metrics.scope_metrics.add().metrics.add(name="sender.requests")
    metric.sum.aggregation_temporality = 2
    metric.sum.is_monotonic = True
    metric.sum.data_points.add(time_unix_nano=time.time_ns(), as_int=len(ids))
    post(gateway, "logs", logs.SerializeToString())
    post(gateway, "metrics", metrics.SerializeToString())
    wait_for("the log records", lambda: len(backend.lines) == len(ids))
    wait_for("the count", lambda: backend.counted("sender") == len(ids))
    assert {trace_id for _, trace_id in backend.lines} == {f"{number:032x}" for number in ids}
