"""The largest log record that the settings allow reaches the log store."""

import asyncio
import os
import subprocess
import sys
import time

import pytest

from tests.end_to_end.conftest import Stack, receiver_url, wait_until

PROGRAM = """
import structlog, three_pillars
from three_pillars import environment, logs
from three_pillars.providers import otlp_providers
from opentelemetry import trace

providers = otlp_providers(three_pillars.ServiceResource("wide"), environment.prepare())
logs.configure(providers.logs)
with trace.get_tracer("wide").start_as_current_span("wide"):
    structlog.get_logger().info("wide", **{f"attribute{n}": "x" * LENGTH for n in range(120)})
    print(three_pillars.trace_id())
providers.shutdown(20)
"""
RESOURCE_ATTRIBUTES = ",".join(f"key{n}={'v' * 100}" for n in range(64))


@pytest.mark.parametrize("length", [10, 9000], ids=["many attributes", "many long attributes"])
def test_the_largest_log_record_is_stored(stack: Stack, length: int) -> None:
    """A log record with 64 resource attributes and 120 of its own is stored."""
    started = time.time()
    env = {
        **os.environ,
        "OTEL_RESOURCE_ATTRIBUTES": RESOURCE_ATTRIBUTES,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver_url(),
    }
    program = PROGRAM.replace("LENGTH", str(length))
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    trace_id = result.stdout.split()[-1]

    async def stored() -> int:
        async with stack.backends() as backends:
            return len(await backends.trace_logs(trace_id, started - 60, time.time() + 60))

    wait_until(lambda: asyncio.run(stored()) == 1, f"the log record of {trace_id}")
