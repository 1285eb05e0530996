"""A process that forks after ``install()``: parent and children each count only for themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import InMemoryCollector

PROGRAM = """
import os
import sys
import multiprocessing

import structlog
from fastapi import FastAPI
from opentelemetry import metrics, trace

from three_pillars import ServiceResource, install
from three_pillars.environment import validate
from three_pillars.providers import otlp_providers

service = ServiceResource("payment")
providers = otlp_providers(service, validate())
install(FastAPI(), service, providers=providers)
counter = metrics.get_meter("job").create_counter("payment.requests")


def work(name: str, count: int) -> None:
    with trace.get_tracer("job").start_as_current_span(name):
        structlog.get_logger().info(name)
    counter.add(count, {"by": name})


def child() -> None:
    work("child", 10)
    assert providers.shutdown(20)


work("parent", 1)
providers.active_requests["GET", "http"] += 1
providers.drops[0].dropped["queue_full"] = 1
# The parent's connections to the Collector are open, and its metrics have been sent once.
for provider in (providers.traces, providers.logs, providers.metrics):
    provider.force_flush()
if sys.argv[1] == "os.fork":
    pid = os.fork()
    if not pid:
        child()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
else:
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    status = process.exitcode
work("parent", 1)
assert providers.shutdown(20)
sys.exit(status)
"""


@pytest.mark.parametrize("attributes", ["service.instance.id=pod-1", ""])
@pytest.mark.parametrize("fork", ["os.fork", "multiprocessing"])
def test_parent_and_child_count_for_themselves(
    tmp_path: Path, collector: InMemoryCollector, fork: str, attributes: str
) -> None:
    """Parent and child are two instances, and the counts of the parent are not in the child's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_RESOURCE_ATTRIBUTES": attributes,
        "OTEL_METRIC_EXPORT_INTERVAL": "600000",
    }
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, fork],
        cwd=tmp_path,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert "Traceback" not in completed.stderr
    assert len(collector.spans) == 3
    assert len(collector.lines) == 3
    counts = {
        (instance, by): count
        for (_, instance, by), count in collector.counts.items()
        if "child" in by or "parent" in by
    }
    assert sorted(counts.values()) == [2, 10], counts
    assert len(collector.instances["payment"]) == 2
    if attributes:
        first, second = sorted(collector.instances["payment"])
        assert first == "pod-1"
        assert second.startswith("pod-1/")


def test_child_has_none_of_the_parents_state(tmp_path: Path, collector: InMemoryCollector) -> None:
    """Active requests and dropped items of the parent are not reported by the child."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run(
        [sys.executable, "-c", PROGRAM, "os.fork"],
        cwd=tmp_path,
        env=inherited
        | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
        },
        capture_output=True,
        timeout=90,
        check=True,
    )
    reported: dict[str, set[str]] = {}
    for path, message in collector.received:
        if path == "/v1/metrics":
            for resource_metrics in message.resource_metrics:
                attributes = {
                    item.key: item.value.string_value
                    for item in resource_metrics.resource.attributes
                }
                names = reported.setdefault(attributes["service.instance.id"], set())
                for scope_metrics in resource_metrics.scope_metrics:
                    names |= {metric.name for metric in scope_metrics.metrics}
    parent, child = sorted(reported.values(), key=len, reverse=True)
    assert parent >= {"payment.requests", "http.server.active_requests", "telemetry.dropped"}
    assert child == {"payment.requests"}
