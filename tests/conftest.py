"""Fixtures for all tests: both services in memory, a Collector in memory, and a running stack."""

# ruff: noqa: E402  (the state folder is read when the demo is imported)
import signal

from tests import private_ports

private_ports.reserve()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts a background job so. Programs that tests start would ignore Ctrl-C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

import logging
import socket
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests import binaries
from tests.end_to_end.conftest import FULL, Stack
from tests.in_memory_shop import RESOURCE, InMemoryShop
from tests.processes import InMemoryCollector, run_collector
from three_pillar_demo.stack.external_binary import LOKI, TEMPO
from three_pillars import environment
from three_pillars.providers import tracer_provider

ShopFactory = Callable[..., InMemoryShop]


class _SchedulerByFile(LoadFileScheduling):
    """Gives the tests of a file to one worker, and those of ``tests/end_to_end/`` one by one.

    Processes that the tests of a file share are then started once. The end-to-end tests share a
    stack, and every worker has one.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith("tests/end_to_end/") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Return the scheduler for several worker processes.

    The ``xdist_group`` marks of pytest-xdist 3.8 have no effect under pytest 9.2:
    https://github.com/pytest-dev/pytest-xdist/issues/1386
    """
    return _SchedulerByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests for several worker processes (``--no-loadscope-reorder`` keeps the order).

    This must be the last hook, because pytest puts the tests of a session's fixture together.

    The tests that need a stack mostly wait, so they alternate with the files without, the largest
    of which come first.
    """
    on_a_stack = [[item] for item in items if item.get_closest_marker("stack")]
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if not item.get_closest_marker("stack"):
            files.setdefault(item.path, []).append(item)
    largest_first = sorted(files.values(), key=len, reverse=True)
    groups = chain.from_iterable(zip_longest(on_a_stack, largest_first, fillvalue=[]))
    items[:] = chain.from_iterable(groups)


@pytest.fixture(scope="session")
def tracing() -> tuple[TracerProvider, InMemorySpanExporter]:
    """The process's only tracer provider and its span exporter: OpenTelemetry accepts just one."""
    exporter = InMemorySpanExporter()
    provider = tracer_provider(RESOURCE, environment.validate())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider, exporter


@pytest.fixture
def build_shop(tracing: tuple[TracerProvider, InMemorySpanExporter]) -> Iterator[ShopFactory]:
    """A function that builds a shop with the options of ``InMemoryShop``.

    The logging configuration, which the shop changes, is restored after the test.
    """
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
    """Checkout and payment in memory, without simulated failures."""
    return build_shop()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """The number of a port that refuses connections; no other process can bind it meanwhile."""
    with socket.socket() as bound_socket:
        bound_socket.bind(("127.0.0.1", 0))
        yield bound_socket.getsockname()[1]


@pytest.fixture
def collector() -> Iterator[InMemoryCollector]:
    """An OTLP receiver in place of the Collector; it keeps in memory what it receives."""
    with run_collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack for the whole test session.

    It is the local stack; with ``STACK=full`` it is the real one, with Collector, Tempo and so on.
    """
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
    """The path of promtool; Prometheus is built first if it is missing."""
    return binaries.promtool()
