"""The Collector's own exporters send to the local store, over both protocols and compressed."""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
    ResourceMetrics,
    ScopeMetrics,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.clients import installation
from tests.clients.programs import Program, running, wait_listening
from tests.clients.store import ClientStore
from tests.demo.local_store.messages import (
    CUMULATIVE,
    attributes,
    log_record,
    log_request,
    resource,
    span,
    trace_request,
)
from tests.demo.local_store.stores import PROTOBUF
from tests.private_ports import free_port
from tests.processes import wait_for
from three_pillar_demo.stack.binaries import OTELCOL, find_built

CONFIG = Path(__file__).parent / "collector.yaml"
SERVICE = "checkout"
DELIVERING = [
    ("otlp_grpc", "gzip"),
    ("otlp_grpc", "none"),
    ("otlp_http", "zstd"),
    ("otlp_http", "gzip"),
    ("otlp_http", "deflate"),
    ("otlp_http", "none"),
]
"""The exporters with the compressions that the store understands."""
REFUSAL = re.compile("Exporting failed|Partial success")
REFUSED = [("otlp_grpc", "zstd"), ("otlp_grpc", "snappy"), ("otlp_http", "snappy")]
"""The other ones that a Collector offers; gRPC for Python decodes neither zstd nor snappy."""


@contextmanager
def running_collector(
    exporter: str, compression: str, store: ClientStore, folder: Path
) -> Iterator[tuple[str, Program]]:
    """Run a Collector that exports to ``store`` until the end of the block; yield its URL too."""
    executable = find_built(OTELCOL)
    if executable is None:
        installation.unavailable("collector", "not built yet: make binaries")
    port = free_port()
    environment = {
        "RECEIVER_PORT": str(port),
        "STORE_GRPC": store.grpc,
        "STORE_HTTP": store.http,
        "EXPORTER": exporter,
        "COMPRESSION": compression,
    }
    command = [str(executable), "--config", str(CONFIG)]
    with running(command, folder, folder / "collector.log", environment) as program:
        wait_listening(program, port)
        yield f"http://127.0.0.1:{port}", program


@pytest.fixture(params=DELIVERING, ids="-".join)
def collector(
    request: pytest.FixtureRequest, client_store: ClientStore, tmp_path: Path
) -> Iterator[str]:
    """The URL of a Collector that exports to ``client_store``, by each exporter in turn."""
    exporter, compression = request.param
    with running_collector(exporter, compression, client_store, tmp_path) as (url, program):
        yield url
        refusals = [line for line in program.text().splitlines() if REFUSAL.search(line)]
        assert not refusals


def test_each_exporter_delivers_all_signals(collector: str, client_store: ClientStore) -> None:
    """Spans, log records and metrics that a Collector forwards are in the store as they were."""
    trace_id = secrets.token_bytes(16)
    failed = span("failed", trace_id=trace_id, error=True, links=[link()], events=[event()])
    child = span("child", trace_id=trace_id, parent_span_id=failed.span_id, seconds=0.05)
    record = log_record("is slow", severity=13, trace_id=trace_id, span_id=child.span_id)
    post(collector, "traces", trace_request(failed, child))
    post(collector, "logs", log_request(record))
    post(collector, "metrics", metrics_request())
    hex_id = trace_id.hex()
    client_store.wait_until(
        f"trace {hex_id} with its log record",
        lambda: (view := client_store.view(hex_id)) and len(view.spans) == 2 and view.logs,
    )
    view = client_store.view(hex_id)
    stored = {stored_span.name: stored_span for stored_span in view.spans}
    assert stored["failed"].error
    assert stored["failed"].exceptions == ("ConnectionError: the stock database is away",)
    assert stored["failed"].links[0].trace_id == "ab" * 16
    assert stored["child"].parent_id == failed.span_id.hex()
    assert stored["child"].start == child.start_time_unix_nano
    assert view.logs[0].body == "is slow"
    assert view.logs[0].fields["span_id"] == child.span_id.hex()
    expected = {("exponential_count", 3.0), ("summary_count", 4.0)}
    client_store.wait_until(f"the metrics {expected}", lambda: expected == counted(client_store))


@pytest.mark.parametrize(("exporter", "compression"), REFUSED)
def test_an_unknown_compression_is_refused(
    exporter: str, compression: str, client_store: ClientStore, tmp_path: Path
) -> None:
    """Telemetry in a compression that the store does not know is refused, never acknowledged."""
    with running_collector(exporter, compression, client_store, tmp_path) as (url, program):
        post(url, "logs", log_request(log_record("lost")))
        wait_for("the Collector's report", lambda: "Exporting failed" in program.text())
        assert "encoding" in program.text()


def counted(store: ClientStore) -> set[tuple[str, float]]:
    """Return name and value of both metrics, as far as they have arrived."""
    names = ("exponential_count", "summary_count")
    return {
        (name, value) for name in names for value in store.counters(name, "service_name").values()
    }


def post(collector: str, signal_name: str, request: Message) -> None:
    """Send an export request to the Collector."""
    response = httpx2.post(
        f"{collector}/v1/{signal_name}",
        content=request.SerializeToString(),
        headers=PROTOBUF,
        timeout=30,
        trust_env=False,
    )
    response.raise_for_status()


def link() -> Span.Link:
    """Return a link to a span of another trace."""
    return Span.Link(trace_id=b"\xab" * 16, span_id=b"\xcd" * 8)


def event() -> Span.Event:
    """Return the event of an exception with a stack trace."""
    recorded = attributes(
        exception__type="ConnectionError",
        exception__message="the stock database is away",
        exception__stacktrace="Traceback (most recent call last): ...",
    )
    return Span.Event(name="exception", time_unix_nano=time.time_ns(), attributes=recorded)


def metrics_request() -> ExportMetricsServiceRequest:
    """Return an exponential histogram of three values and a summary of four."""
    now = time.time_ns()
    exponential = ExponentialHistogramDataPoint(
        time_unix_nano=now,
        start_time_unix_nano=now - 10**9,
        count=3,
        sum=7.0,
        scale=0,
        positive=ExponentialHistogramDataPoint.Buckets(offset=0, bucket_counts=[1, 2]),
    )
    quantile = SummaryDataPoint.ValueAtQuantile(quantile=0.5, value=1.5)
    summary = SummaryDataPoint(
        time_unix_nano=now,
        start_time_unix_nano=now - 10**9,
        count=4,
        sum=6.0,
        quantile_values=[quantile],
    )
    metrics = [
        Metric(
            name="exponential",
            exponential_histogram=ExponentialHistogram(
                aggregation_temporality=CUMULATIVE,  # type: ignore[arg-type]
                data_points=[exponential],
            ),
        ),
        Metric(name="summary", summary=Summary(data_points=[summary])),
    ]
    return ExportMetricsServiceRequest(
        resource_metrics=[
            ResourceMetrics(
                resource=resource(SERVICE), scope_metrics=[ScopeMetrics(metrics=metrics)]
            )
        ]
    )
