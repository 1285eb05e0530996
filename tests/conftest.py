"""Fixtures for all tests: the services in memory, a Collector in memory, and a running stack."""

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests import binaries
from tests.end_to_end.conftest import FULL, Stack
from tests.in_memory_shop import RESOURCE, InMemoryShop
from tests.processes import InMemoryCollector, run_collector
from three_pillar_demo.stack.external_binary import LOKI, TEMPO
from three_pillars import environment
from three_pillars.providers import tracer_provider

ShopFactory = Callable[..., InMemoryShop]


@pytest.fixture(scope="session")
def tracing() -> tuple[TracerProvider, InMemorySpanExporter]:
    """The tracer provider of the process, which OpenTelemetry lets be set only once."""
    exporter = InMemorySpanExporter()
    provider = tracer_provider(RESOURCE, environment.validate())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider, exporter


@pytest.fixture
def build_shop(tracing: tuple[TracerProvider, InMemorySpanExporter]) -> Iterator[ShopFactory]:
    """A function that builds a shop with options; the logging configuration is restored."""
    tracing[1].clear()
    root = logging.getLogger()
    handlers = root.handlers[:]
    level = root.level
    yield lambda **options: InMemoryShop(tracing, **options)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def shop(build_shop: ShopFactory) -> InMemoryShop:
    """A shop without simulated failures."""
    return build_shop()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections and that no other process can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def collector() -> Iterator[InMemoryCollector]:
    """A Collector that keeps what it receives in memory."""
    with run_collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack: the local one, or with ``STACK=full`` the real one."""
    if FULL:
        missing = [binary.name for binary in (TEMPO, LOKI) if not binary.path]
        if missing:
            names = " and no ".join(missing)
            pytest.skip(f"no {names} on PATH: the real stack cannot be started")
        binaries.build()
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.up()
    yield stack
    if stack.foreground:
        stack.ctrl_c()
    stack.down()


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The rule checker of Prometheus, built together with Prometheus where it is missing."""
    return binaries.promtool()
