"""Fixtures for all tests: both services in memory, a Collector in memory, and a running stack."""

# ruff: noqa: E402  (the state folder is read when the demo is imported)
import gc
import signal

from tests import private_ports

# Until all tests are collected: garbage collections would take half of that time.
gc.disable()
private_ports.reserve()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts a background job so. Programs that tests start would ignore Ctrl-C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

import functools
import logging
import socket
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import httpcore2
import pytest
import structlog
import yaml
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

# A client of httpx2 reads all certificates of the machine when it is made, which takes 25 ms, and
# the tests make thousands. The tests that are about certificates run processes of their own.
httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)

# The parser of YAML in C takes a tenth of the time of the one in Python. Some builds lack it.
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # type: ignore[misc]

LONGEST = (
    "demo/drills/test_live.py",
    "demo/drills/test_live_sessions.py",
    "end_to_end/test_rehearsals.py",
    "end_to_end/test_nothing_is_lost.py",
    "end_to_end/test_restarts.py",
    "end_to_end/test_verify.py",
    "packaging/test_installation.py",
    "demo/web/test_browser.py",
    "demo/stack/test_launcher.py",
    "demo/stack/test_control.py",
    "test_bench.py",
    "field/test_settings.py",
    "demo/local_store/test_process.py",
    "services/test_servers.py",
    "demo/stack/test_background.py",
    "demo/stack/test_modes.py",
    "field/test_shell_variables.py",
    "telemetry/test_acceptance.py",
    # Those of the full mode. A worker takes the next file together with the last test of the one
    # before, so the files with one long test are not next to each other.
    "config/test_paging.py",
    "deploy/test_two_tiers.py",
    "deploy/test_verify.py",
    "config/test_alerts.py",
    "config/test_limits.py",
    "config/test_queue_files.py",
)
"""The files whose tests take longest, longest first. Only the order of the tests depends on it."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests so that several worker processes are busy to the end.

    The worker processes take file by file (``--dist loadfile --no-loadscope-reorder``), and the
    longest come first. The files with tests that need a stack mostly wait, so they alternate with
    the others. This must be the last hook, because pytest puts the tests of one session fixture
    together.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    folder = Path(__file__).parent
    longest_first = [folder / name for name in LONGEST if folder / name in files]
    longest_first += [path for path in files if path not in longest_first]
    items.clear()
    on_a_stack: list[list[pytest.Item]] = []
    others: list[list[pytest.Item]] = []
    for path in longest_first:
        group = on_a_stack if files[path][0].get_closest_marker("stack") else others
        group.append(files[path])
    none: list[pytest.Item] = []
    for tests_on_a_stack, other_tests in zip_longest(on_a_stack, others, fillvalue=none):
        items += [*tests_on_a_stack, *other_tests]


def pytest_collection_finish() -> None:
    """Leave what the collection has made out of garbage collection, which then takes less time."""
    gc.freeze()
    gc.enable()


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
