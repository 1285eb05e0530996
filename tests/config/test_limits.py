"""What leaves the Collector is within the limits of the backends, which config/ states.

The Collector is a real one. An OTLP receiver in this process is in place of the backends;
``backend_rules`` says what they would refuse.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.config import backend_rules, over_limit
from tests.config.over_limit import LogCase, MetricCase, SpanCase
from tests.field.otlp import python_attributes
from tests.processes import InMemoryCollector, run_collector, wait_for
from tests.real_collector import RealCollector, collector_config, run_real_collector

pytestmark = pytest.mark.timeout(3600)  # The Collector may be built first.

KINDS = {"before", "over the limit", "after"}
HTTP = collector_config()["receivers"]["otlp"]["protocols"]["http"]
GRPC = collector_config()["receivers"]["otlp"]["protocols"]["grpc"]
QUEUES: dict[str, dict[str, Any]] = {
    name: exporter["sending_queue"] for name, exporter in collector_config()["exporters"].items()
}


@pytest.fixture(scope="module")
def backend() -> Iterator[InMemoryCollector]:
    """An OTLP receiver in place of Tempo, Loki and Prometheus."""
    with run_collector() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def real_collector(
    backend: InMemoryCollector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealCollector]:
    """A real Collector that sends everything to ``backend``."""
    with run_real_collector(tmp_path_factory.mktemp("collector"), backend.url) as collector:
        yield collector


def forwarded(
    collector: RealCollector, backend: InMemoryCollector, signal: str, request: bytes, group: str
) -> dict[str, Message]:
    """Send ``request``; return what the Collector forwards of it: resource and content by kind.

    ``group`` is the field of the request that has one entry for each resource.
    """
    count_before = len(backend.received)
    response = httpx2.post(
        f"{collector.url}/v1/{signal}",
        content=request,
        headers={"content-type": "application/x-protobuf"},
        timeout=60,
        trust_env=False,
    )
    assert response.status_code == httpx2.codes.OK, response.text
    groups: dict[str, Message] = {}

    def all_arrived() -> bool:
        for _, message in backend.received[count_before:]:
            for content in getattr(message, group, ()):
                name = python_attributes(content.resource.attributes)["service.name"]
                groups[name] = content
        return groups.keys() >= KINDS

    wait_for("all three items", all_arrived)
    return groups


@pytest.mark.full
@pytest.mark.parametrize("name", over_limit.log_cases())
def test_log_record_is_brought_within_the_limits_of_loki(
    real_collector: RealCollector, backend: InMemoryCollector, name: str
) -> None:
    """A log record over a limit is forwarded within it and marked, and its neighbours are kept."""
    case: LogCase = over_limit.log_cases()[name]
    groups: dict[str, Any] = dict(
        forwarded(real_collector, backend, "logs", over_limit.log_request(case), "resource_logs")
    )
    for kind, logs in groups.items():
        scope_logs = logs.scope_logs[0]
        for record in scope_logs.log_records:
            reasons = backend_rules.loki_reasons(logs.resource, scope_logs.scope, record)
            assert reasons == [], kind
    assert case.mark in str(groups["over the limit"])
    assert "collector." not in str(groups["before"]) + str(groups["after"])


@pytest.mark.full
@pytest.mark.parametrize("name", over_limit.span_cases())
def test_span_is_brought_within_the_limits_of_tempo(
    real_collector: RealCollector, backend: InMemoryCollector, name: str
) -> None:
    """A span over a limit is forwarded within it and marked, and its neighbours are kept."""
    case: SpanCase = over_limit.span_cases()[name]
    groups: dict[str, Any] = dict(
        forwarded(
            real_collector, backend, "traces", over_limit.span_request(case), "resource_spans"
        )
    )
    for kind, spans in groups.items():
        assert backend_rules.tempo_reasons(spans.scope_spans[0].spans[0]) == [], kind
    assert case.mark in str(groups["over the limit"])
    assert "collector." not in str(groups["before"]) + str(groups["after"])


@pytest.mark.full
@pytest.mark.parametrize("name", over_limit.metric_cases())
def test_metric_is_brought_within_the_limits_of_prometheus(
    real_collector: RealCollector, backend: InMemoryCollector, name: str
) -> None:
    """A metric over a limit is forwarded within it and marked, and its neighbours are kept."""
    case: MetricCase = over_limit.metric_cases()[name]
    groups: dict[str, Any] = dict(
        forwarded(
            real_collector, backend, "metrics", over_limit.metric_request(case), "resource_metrics"
        )
    )
    for kind, metrics in groups.items():
        metric = metrics.scope_metrics[0].metrics[0]
        assert backend_rules.prometheus_reasons(metrics.resource, metric) == [], kind
    assert case.mark in str(groups["over the limit"])
    assert "collector." not in str(groups["before"]) + str(groups["after"])


@pytest.mark.full
def test_metric_without_data_costs_nothing(
    real_collector: RealCollector, backend: InMemoryCollector
) -> None:
    """A metric without data, which Prometheus refuses, is left out, and its neighbours are kept."""
    request = ExportMetricsServiceRequest()
    for kind in ("before", "over the limit", "after"):
        metrics = request.resource_metrics.add(resource=over_limit.resource_of(kind))
        metrics.scope_metrics.add().metrics.add(name="empty").gauge.SetInParent()
        metrics.scope_metrics[0].metrics.add(name="none")
        metrics.scope_metrics[0].metrics.add(name="full").gauge.data_points.add(
            time_unix_nano=over_limit.nanoseconds(), as_double=1
        )
    groups: dict[str, Any] = dict(
        forwarded(
            real_collector, backend, "metrics", request.SerializeToString(), "resource_metrics"
        )
    )
    names = [metric.name for group in groups.values() for metric in group.scope_metrics[0].metrics]
    assert names == ["full"] * 3


@pytest.mark.full
def test_ordinary_telemetry_is_not_changed(
    real_collector: RealCollector, backend: InMemoryCollector
) -> None:
    """A record with nested, long and numeric values within the limits is forwarded as it is."""
    attributes: dict[str, over_limit.Value] = {
        "nested": {"name": {"leaf": 1}},
        "list": [1, "two"],
        "number": 3,
        "stack": "line\n" * 3000,
        "\u7528\u6237.id": "name",
    }
    short = {name: value for name, value in attributes.items() if name != "stack"}
    log_case = LogCase(over_limit.of_record(short), "")
    with_stack = LogCase(over_limit.of_record({"stack": attributes["stack"]}), "")
    span_case = SpanCase(
        lambda span, _resource: span.attributes.extend(over_limit.key_values(attributes)), ""
    )
    requests: list[tuple[str, bytes, str, type[Message]]] = [
        ("logs", over_limit.log_request(log_case), "resource_logs", ExportLogsServiceRequest),
        ("logs", over_limit.log_request(with_stack), "resource_logs", ExportLogsServiceRequest),
        ("traces", over_limit.span_request(span_case), "resource_spans", ExportTraceServiceRequest),
    ]
    for signal, request, group, message in requests:
        groups = forwarded(real_collector, backend, signal, request, group)
        sent = getattr(message.FromString(request), group)
        for number, kind in enumerate(("before", "over the limit", "after")):
            assert contents(groups[kind]) == contents(sent[number])


def contents(group: Message) -> dict[str, object]:
    """Return the fields of ``group`` by name, without empty ones; attributes as dictionaries."""
    fields: dict[str, object] = {}
    for field, value in group.ListFields():
        if field.name == "attributes":
            fields["attributes"] = python_attributes(value)
        elif field.message_type is None:
            fields[field.name] = value
        elif field.is_repeated:
            fields[field.name] = [contents(item) for item in value]
        elif value.ByteSize():
            fields[field.name] = contents(value)
    return fields


@pytest.mark.full
def test_delta_becomes_a_running_total(
    real_collector: RealCollector, backend: InMemoryCollector
) -> None:
    """Of a metric with delta temporality, Prometheus gets the sum of all values so far."""
    delta = over_limit.metric_cases()["delta"]

    def edit(metric: Metric, resource: Resource) -> None:
        metric.name = "sold"
        delta.edit(metric, resource)

    totals = []
    for _ in range(2):
        request = over_limit.metric_request(MetricCase(edit, ""))
        groups: dict[str, Any] = dict(
            forwarded(real_collector, backend, "metrics", request, "resource_metrics")
        )
        metric = groups["over the limit"].scope_metrics[0].metrics[0]
        totals.append(metric.sum.data_points[0].as_double)
    assert totals == [1.5, 3.0]


@pytest.mark.full
def test_request_that_is_too_large_is_refused_with_a_reason(
    real_collector: RealCollector,
) -> None:
    """A request larger than the receiver accepts is refused, and the response says why."""
    body = over_limit.log_request(LogCase(over_limit.with_body("b" * 21_000_000), ""))
    assert len(body) > HTTP["max_request_body_size"]
    response = httpx2.post(
        f"{real_collector.url}/v1/logs",
        content=body,
        headers={"content-type": "application/x-protobuf"},
        timeout=60,
        trust_env=False,
    )
    assert response.status_code in {400, 413}
    assert b"request body too large" in response.content


def test_no_item_can_be_too_large_for_its_batch() -> None:
    """No batch has a size limit in bytes: the exporter would drop a larger item and its batch."""
    assert HTTP["max_request_body_size"] == GRPC["max_recv_msg_size_mib"] * 2**20
    for name, queue in QUEUES.items():
        batch = queue.get("batch", {})
        sizer = batch.get("sizer", queue["sizer"])
        assert "max_size" not in batch or sizer == "items", name


def test_tempo_accepts_the_largest_batch() -> None:
    """Tempo accepts a request of the largest size that the Collector can send."""
    otlp = backend_rules.TEMPO["distributor"]["receivers"]["otlp"]["protocols"]["http"]
    largest = HTTP["max_request_body_size"] + QUEUES["otlp_http/tempo"]["batch"]["min_size"]
    assert otlp["max_request_body_size"] > 2 * largest
    limits = backend_rules.TEMPO["overrides"]["defaults"]
    assert limits["global"]["max_bytes_per_trace"] == 0
    assert limits["ingestion"]["max_traces_per_user"] == 0


def test_loki_accepts_the_largest_batch() -> None:
    """A batch of records at all limits, with the resource in each, passes Loki's rate limits."""
    batch = QUEUES["otlp_http/loki"]["batch"]
    assert batch["sizer"] == "items"
    record_bytes = (256 + 256 + 32 + 32) * 1024  # line, attributes, resource, scope
    largest = batch["max_size"] * record_bytes
    # A request above the burst would be refused for ever, because a retry has the same size.
    limits = backend_rules.LOKI
    assert limits["ingestion_burst_size_mb"] * 2**20 > largest
    assert backend_rules.byte_count(limits["per_stream_rate_limit_burst"]) > largest
    server = yaml.safe_load(Path("config/loki.yaml").read_text())["server"]
    assert server["grpc_server_max_recv_msg_size"] > largest


def test_prometheus_accepts_what_waited_in_the_queue() -> None:
    """Prometheus accepts points that are a day old when they arrive and wait a day in the queue."""
    window = backend_rules.PROMETHEUS["storage"]["tsdb"]["out_of_order_time_window"]
    assert backend_rules.seconds(window) >= 2 * over_limit.DAY_S
    assert 'Duration("24h")' in str(collector_config()["processors"]["transform/metric_limits"])
