"""Tempo in its container takes what the Collector's full queue holds, within its memory limit."""

import pytest

from tests.compose import engine
from tests.compose.conftest import ComposeProject
from tests.real_collector import collector_config

pytestmark = [pytest.mark.stack, pytest.mark.engine, pytest.mark.timeout(600)]
QUEUE: dict[str, int] = collector_config()["exporters"]["otlp_http/tempo"]["sending_queue"]
SEND = f"""
import secrets, time, urllib.request
from concurrent.futures import ThreadPoolExecutor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

def request():
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    for _ in range(100):
        trace_id = secrets.token_bytes(16)
        for _ in range(5):
            now = time.time_ns()
            span = spans.add(trace_id=trace_id, span_id=secrets.token_bytes(8), name="backlog")
            span.start_time_unix_nano = span.end_time_unix_nano = now
            for number in range(10):
                attribute = span.attributes.add(key=f"attribute.{{number}}")
                attribute.value.string_value = secrets.token_hex(24)
    return message.SerializeToString()

def send(_):
    body = request()
    headers = {{"content-type": "application/x-protobuf"}}
    url = "http://tempo:4418/v1/traces"
    for _ in range(60):
        try:
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60).read()
        except OSError:
            time.sleep(1)
        else:
            return len(body)
    return 0

with ThreadPoolExecutor(10) as pool:
    sizes = list(pool.map(send, range({QUEUE["queue_size"]} // len(request()))))
print(sum(sizes) // 2**20, sizes.count(0))
"""
"""A Python script that sends as many bytes as fit into the queue, in ten requests at a time, like
the Collector. It prints the MiB that were accepted, and the number of requests that were not."""


def test_full_queue_does_not_exceed_the_memory_of_tempo(project: ComposeProject) -> None:
    """Ordinary spans of the size of a full queue arrive, and Tempo is not killed for its memory."""
    assert project.services
    run = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "demo", "-c", SEND)
    mebibytes, refused = map(int, engine.compose(*run).stdout.split())
    assert refused == 0
    assert mebibytes >= QUEUE["queue_size"] / 2**20 - 1
    container = engine.inspect(engine.containers()["tempo"])
    assert container["RestartCount"] == 0
    assert not container["State"]["OOMKilled"]
