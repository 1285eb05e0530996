"""OpenTelemetry's load generator ``telemetrygen`` sends to the local store, over both protocols."""

import subprocess
from pathlib import Path

import pytest

from tests.clients import installation
from tests.clients.programs import inherited_environment
from tests.clients.store import ClientStore

TIMEOUT_S = 120
SERVICE = "generated"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
protocols = pytest.mark.parametrize("protocol", ["grpc", "http"])


@pytest.fixture(scope="module")
def telemetrygen() -> Path:
    """The executable, which is built first."""
    folder = installation.installed(
        "telemetrygen", installation.TELEMETRYGEN, installation.install_telemetrygen
    )
    return folder / "program"


def generate(executable: Path, store: ClientStore, protocol: str, *arguments: str) -> None:
    """Run ``telemetrygen`` with ``arguments`` until its end, which must be a success."""
    url = store.http if protocol == "http" else store.grpc
    endpoint = ["--otlp-endpoint", url.removeprefix("http://"), "--otlp-insecure"]
    if protocol == "http":
        endpoint.append("--otlp-http")
    completed = subprocess.run(
        [executable, *arguments, *endpoint, "--service", SERVICE, "--rate", "0"],
        env=inherited_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert "partial success" not in completed.stderr.lower()


@protocols
def test_traces(telemetrygen: Path, client_store: ClientStore, protocol: str) -> None:
    """Each trace has its root, its children and their links, with error status."""
    shape = ("--traces", "5", "--child-spans", "3", "--span-links", "1", "--status-code", "Error")
    generate(telemetrygen, client_store, protocol, "traces", *shape)
    client_store.wait_until("20 spans", lambda: client_store.ingested("spans") == 20)
    trace_ids = set(client_store.requests(SERVICE))
    assert len(trace_ids) == 5
    for trace_id in trace_ids:
        spans = client_store.trace(trace_id)
        [root] = [span for span in spans if not span.parent_id]
        children = [span for span in spans if span.parent_id == root.span_id]
        assert len(children) == 3
        assert all(span.error and span.service == SERVICE for span in spans)
        assert all(len(span.links) <= 1 for span in spans)


@protocols
def test_logs(telemetrygen: Path, client_store: ClientStore, protocol: str) -> None:
    """Each log record has its body, its severity and its trace id."""
    ids = ("--trace-id", TRACE, "--span-id", SPAN)
    text = ("--body", "the stock is low", "--severity-text", "Warn", "--severity-number", "13")
    generate(telemetrygen, client_store, protocol, "logs", "--logs", "7", *ids, *text)
    client_store.wait_until("7 log records", lambda: len(client_store.logs(SERVICE)) == 7)
    for record in client_store.logs(SERVICE):
        assert record.body == "the stock is low"
        assert record.severity == "Warn"
        assert record.severity_number == 13
        assert record.fields["trace_id"] == TRACE
        assert record.fields["span_id"] == SPAN


@protocols
@pytest.mark.parametrize(
    ("metric_type", "stored"),
    [
        ("Gauge", "queue"),
        ("Sum", "queue_total"),
        ("Histogram", "queue_count"),
        ("ExponentialHistogram", "queue_count"),
    ],
)
def test_metrics(
    telemetrygen: Path, client_store: ClientStore, protocol: str, metric_type: str, stored: str
) -> None:
    """A metric of each type has its newest value in the store."""
    of_metric = ("--metrics", "3", "--otlp-metric-name", "queue", "--metric-type", metric_type)
    generate(telemetrygen, client_store, protocol, "metrics", *of_metric)
    client_store.wait_until(
        f"the metric {stored}", lambda: client_store.counters(stored, "service_name")
    )
    assert set(client_store.counters(stored, "service_name")) == {(SERVICE,)}
