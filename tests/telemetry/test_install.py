"""``install()``: what is recorded and what is not, the shutdown, and the environment."""

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from fastapi.telemetry._asgi import NativeTelemetry
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import three_pillars
from tests.conftest import ShopFactory
from tests.in_memory_shop import InMemoryShop
from three_pillar_demo.verify.outcomes import CHECKOUT
from three_pillars import ServiceResource
from three_pillars.logs import add_trace_ids
from three_pillars.providers import TelemetryProviders
from three_pillars.resource import MAX_NAME_LENGTH

LIBRARY = Path(three_pillars.__file__).parent
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/healthz?probe=1", "/metrics?name[]=up"])
def test_probes_are_not_recorded(shop: InMemoryShop, path: str) -> None:
    """A health check or scrape has no span, count, line or log record, with or without a query."""
    assert shop.request("GET", path).status_code == 200
    assert not shop.spans
    assert not any(sample.count for samples in shop.samples().values() for sample in samples)
    assert not shop.stdout.getvalue()
    assert not shop.records


def test_telemetry_of_fastapi_is_switched_off(
    shop: InMemoryShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request goes through FastAPI's own telemetry, which would search the middleware."""

    def fail(*_: object, **__: object) -> None:
        pytest.fail("FastAPI's own telemetry handled a request")

    monkeypatch.setattr(NativeTelemetry, "__call__", fail)
    shop.request("GET", "/nowhere")
    assert len(shop.spans) == 1


@pytest.mark.parametrize("path", ["/healthzz", "/x/healthz", "/metrics/x", "/?/metrics"])
def test_paths_that_only_contain_an_excluded_path_are_recorded(
    shop: InMemoryShop, path: str
) -> None:
    """A path that contains ``/healthz`` or ``/metrics``, but is neither, is recorded."""
    shop.request("GET", path)
    assert len(shop.spans) == 1
    assert len(shop.lines()) == 1
    assert len(shop.samples()["checkout.requests"]) == 1


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [("", TEXT, ""), ("*/*", TEXT, ""), (OPENMETRICS, OPENMETRICS, "# EOF\n")],
)
def test_metrics_are_served_in_both_formats(
    shop: InMemoryShop, accept: str, content_type: str, end: str
) -> None:
    """``GET /metrics`` responds with 200, without a redirect, in the requested format."""
    shop.request()
    response = shop.request("GET", "/metrics", headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(f"{content_type}; charset=utf-8")
    assert response.text.endswith(end)
    samples = [
        sample
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    ]
    values = {
        sample.name: sample.value
        for sample in samples
        if sample.labels.get("http_route") != "/charges"
    }
    labels = [sample.labels for sample in samples if sample.name == "checkout_requests_total"]
    assert labels == [{"method": "POST", "endpoint": "/checkout", "status": "200"}]
    assert values["checkout_requests_total"] == 1
    assert values["checkout_request_latency_seconds_count"] == 1
    assert values["http_server_request_duration_seconds_count"] == 1


def test_clients_cannot_create_series(shop: InMemoryShop) -> None:
    """Paths, methods, hosts and user agents that a client invents do not become label values."""
    for number in range(20):
        headers = {"host": f"made-up-{number}.example", "user-agent": f"made-up-{number}"}
        shop.request("GET", f"/made-up-{number}", headers=headers)
        shop.request(f"MADE-UP-{number}", "/checkout", headers=headers)
        shop.request(headers=headers)
    samples = shop.samples()
    labels = [sample.labels for series in samples.values() for sample in series]
    assert "made" not in str(labels).lower()
    assert "made" not in shop.request("GET", "/metrics").text.lower()
    counts = {
        (sample.labels["method"], sample.labels["endpoint"], sample.labels["status"]): sample.count
        for sample in samples["checkout.requests"]
    }
    assert counts == {
        ("GET", "unmatched", "404"): 20,
        ("_OTHER", "/checkout", "405"): 20,
        ("POST", "/checkout", "200"): 20,
    }


def test_ids_have_one_spelling() -> None:
    """Log lines have ids of 32 and 16 lower-case hex digits, and none outside a trace."""
    context = SpanContext(trace_id=0x1, span_id=0xAB, is_remote=False)
    with trace.use_span(NonRecordingSpan(context)):
        assert add_trace_ids(None, "info", {}) == {
            "trace_id": "0" * 31 + "1",
            "span_id": "0" * 14 + "ab",
        }
        assert three_pillars.trace_id() == "0" * 31 + "1"
    assert add_trace_ids(None, "info", {}) == {}
    assert three_pillars.trace_id() == ""


def test_trace_of_a_trusted_caller_is_continued(build_shop: ShopFactory) -> None:
    """A trusted caller's trace id, with leading zeros, is that of response, line and record."""
    shop = build_shop(trusted_networks="127.0.0.0/8")
    response = shop.request(headers={"traceparent": f"00-{1:032x}-{2:016x}-01"})
    assert response.json()["trace_id"] == f"{1:032x}"
    parent = shop.spans_by_role[CHECKOUT].parent
    assert parent
    assert parent.span_id == 2
    assert {line["trace_id"] for line in shop.lines()} == {f"{1:032x}"}
    assert {record.trace_id for record in shop.records} == {1}
    assert [line["span_id"] for line in shop.lines()] == [
        f"{record.span_id:016x}" for record in shop.records
    ]


def test_bound_fields_end_with_their_request(shop: InMemoryShop) -> None:
    """Fields that one request has bound are not in the log line of the next request."""

    async def buy_then_fail() -> None:
        transport = httpx2.ASGITransport(shop.checkout)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
            await http.post("/checkout")
            await http.get("/nowhere")

    asyncio.run(buy_then_fail())
    *_, purchase, failure = shop.lines()
    assert (purchase["outcome"], failure["outcome"]) == ("success", "invalid")
    assert [name for name in failure if name.startswith("order.")] == []


def test_logs_of_libraries_go_to_stdout_only(shop: InMemoryShop) -> None:
    """A warning by ``logging`` is written to stdout as JSON, and not exported by OTLP."""
    logging.getLogger("opentelemetry.exporter").warning("lost %d spans", 3)
    (line,) = shop.lines()
    assert line["level"] == "warning"
    assert line["logger"] == "opentelemetry.exporter"
    assert line["event"] == "lost 3 spans"
    assert line["timestamp"].endswith("Z")
    assert not shop.records


def test_a_crash_is_logged_once(shop: InMemoryShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's record of an exception is suppressed if the canonical line has its traceback."""

    async def crash() -> None:
        transport = httpx2.ASGITransport(shop.checkout)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
            await http.post("/checkout")

    monkeypatch.setattr("services.checkout.app.place_order", None)
    with pytest.raises(TypeError) as raised:
        asyncio.run(crash())
    server_log = logging.getLogger("uvicorn.error")
    server_log.error("Exception in ASGI application", exc_info=raised.value)
    server_log.error("something else", exc_info=OSError("a disk"))
    canonical_line, server_line = shop.lines()
    assert canonical_line["outcome"] == "crashed"
    assert "TypeError: " in canonical_line["exception"]
    assert server_line["event"] == "something else"
    assert "OSError: a disk" in server_line["exception"]


def test_an_event_is_one_line(shop: InMemoryShop) -> None:
    """An event is one line of stdout, even if its text or a value contains line breaks."""
    structlog.get_logger().info("one\r\ntwo", **{"order.id": 'x\n{"outcome": "success"}'})
    logging.getLogger("library").warning("three\r\nfour\u2028five")
    assert len(shop.stdout.getvalue().splitlines()) == len(shop.lines()) == 2


def test_a_cancelled_request_is_counted(build_shop: ShopFactory) -> None:
    """A request that is cancelled is recorded with status 499 and outcome abandoned."""
    payment_called = asyncio.Event()

    async def never_answer(_request: httpx2.Request) -> httpx2.Response:
        payment_called.set()
        return await asyncio.Future()

    async def cancel_during_payment() -> None:
        transport = httpx2.ASGITransport(shop.checkout)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
            request = asyncio.create_task(http.post("/checkout"))
            async with asyncio.timeout(10):
                await payment_called.wait()
            request.cancel()
            await asyncio.wait([request])

    shop = build_shop(transport=httpx2.MockTransport(never_answer))
    asyncio.run(cancel_during_payment())
    (sample,) = shop.samples()["checkout.requests"]
    assert (sample.labels["status"], sample.count) == ("499", 1)
    (line,) = shop.lines()
    assert (line["outcome"], line["level"]) == ("abandoned", "warning")
    assert line["http.response.status_code"] == 499
    assert len(line["trace_id"]) == 32


def test_shutdown_gives_up_on_a_provider_that_hangs() -> None:
    """Shutdown returns False at its deadline if a provider hangs, and still ends the others."""
    may_end = threading.Event()
    ended_providers: list[int] = []
    hanging_provider = SimpleNamespace(shutdown=may_end.wait)
    working_provider = SimpleNamespace(shutdown=lambda: ended_providers.append(1))
    build_providers: Any = TelemetryProviders
    started_at = time.monotonic()
    hanging = build_providers(hanging_provider, working_provider, hanging_provider, None)
    assert hanging.shutdown(0.2) is False
    assert time.monotonic() - started_at < 30, "the hanging providers never end by themselves"
    may_end.set()
    working = build_providers(working_provider, working_provider, working_provider, None)
    assert working.shutdown(5) is True
    assert len(ended_providers) == 1 + 3


def test_providers_are_flushed_when_the_lifespan_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the application's lifespan raises at its end, the providers are shut down all the same."""

    @asynccontextmanager
    async def failing_lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        raise ConnectionError("the pool is gone")

    async def run_lifespan() -> None:
        async with app.router.lifespan_context(app):
            assert not ended_providers

    ended_providers: list[str] = []
    providers = empty_providers()
    for name in ("traces", "metrics", "logs"):
        provider = getattr(providers, name)
        monkeypatch.setattr(provider, "shutdown", partial(ended_providers.append, name))
    app = FastAPI(lifespan=failing_lifespan)
    three_pillars.install(app, ServiceResource("failing"), providers=providers)
    with pytest.raises(ConnectionError, match="the pool is gone"):
        asyncio.run(run_lifespan())
    assert sorted(ended_providers) == ["logs", "metrics", "traces"]


def empty_providers() -> TelemetryProviders:
    """Return providers that export nothing and are not the global ones."""
    return TelemetryProviders(
        TracerProvider(), MeterProvider(), LoggerProvider(), CollectorRegistry()
    )


def test_install_is_refused_on_an_application_that_has_started() -> None:
    """A second call is refused with an error that says so, and adds no second /metrics route."""
    app = FastAPI()
    three_pillars.install(app, ServiceResource("once"), providers=empty_providers())
    routes = list(app.router.routes)
    with pytest.raises(RuntimeError, match="must be called once, before the application starts"):
        three_pillars.install(app, ServiceResource("once"), providers=empty_providers())
    assert app.router.routes == routes


@pytest.mark.parametrize("name", ["", "2nd", "my shop", "café", "a" * 201, "shop\n"])
def test_a_service_name_that_no_metric_can_begin_with_is_refused(name: str) -> None:
    """A name that OpenTelemetry would refuse later is refused at once, with the allowed form."""
    with pytest.raises(ValueError, match="expected a letter, then letters, digits"):
        ServiceResource(name)


def test_every_allowed_service_name_gives_valid_metrics() -> None:
    """The longest allowed name, with each allowed character, can be installed and recorded."""
    name = "A0_./-".ljust(MAX_NAME_LENGTH, "z")
    app = FastAPI()
    three_pillars.install(app, ServiceResource(name), providers=empty_providers())


def run_python(code: str, folder: Path, **variables: str) -> str:
    """Run Python ``code`` in ``folder`` and return its stdout.

    The environment has ``variables``, and no other variables that begin with OTEL_.
    """
    (folder / "script.py").write_text(code)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    process = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=folder,
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


PRINT_CONFIGURATION = """
import gc, json, sys
from fastapi import FastAPI
from opentelemetry.sdk.resources import Resource
import three_pillars
from three_pillars import environment
from three_pillars.providers import otlp_providers

service = three_pillars.ServiceResource("checkout", "1.2.3", "shop", "demo")
providers = otlp_providers(service, environment.prepare())
before = {"switch_interval": sys.getswitchinterval(), "frozen": gc.get_freeze_count()}
three_pillars.install(FastAPI(), service, providers=providers)
assert before == {"switch_interval": sys.getswitchinterval(), "frozen": gc.get_freeze_count()}
three_pillars.reduce_pauses()
resource = providers.traces.resource
Resource.__hash__ = lambda _: 1 / 0
reader = providers.metrics._metric_readers[0]
print(json.dumps({
    **resource.attributes,
    "sampler": providers.traces.sampler.get_description(),
    "interval": reader._export_interval_millis,
    "switch_interval": sys.getswitchinterval(),
    "frozen": gc.get_freeze_count(),
    "hash": hash(resource),
}))
"""


def test_environment_wins_over_code_and_defaults(tmp_path: Path) -> None:
    """``OTEL_*`` variables win over the arguments of ``install()`` and the library's defaults."""
    defaults = json.loads(run_python(PRINT_CONFIGURATION, tmp_path))
    assert defaults["switch_interval"] == pytest.approx(0.001), (
        "encoding would keep requests waiting"
    )
    assert defaults["frozen"] > 10_000, "a full collection would visit all that was loaded"
    assert defaults["hash"], (
        "the encoders would write the resource as JSON for every span and record"
    )
    assert defaults["service.name"] == "checkout"
    assert defaults["service.namespace"] == "shop"
    assert defaults["deployment.environment.name"] == "demo"
    assert defaults["interval"] == 1000
    assert defaults["sampler"] == "AlwaysOnSampler"
    assert uuid.UUID(defaults["service.instance.id"]), "the counters of several workers add up"
    overridden = json.loads(
        run_python(
            PRINT_CONFIGURATION,
            tmp_path,
            OTEL_SERVICE_NAME="theirs",
            OTEL_RESOURCE_ATTRIBUTES=(
                "service.namespace=company,deployment.environment.name=prod,team=red"
            ),
            OTEL_METRIC_EXPORT_INTERVAL="15000",
            OTEL_TRACES_SAMPLER="always_off",
        )
    )
    assert overridden["service.name"] == "theirs"
    assert overridden["service.namespace"] == "company"
    assert overridden["team"] == "red"
    assert overridden["deployment.environment.name"] == "prod"
    assert overridden["interval"] == 15000
    assert overridden["sampler"] == "AlwaysOffSampler"
    assert overridden["service.version"] == defaults["service.version"] == "1.2.3"


IMPORT_EVERYTHING = """
import os, pkgutil, sys
from importlib import import_module

before = dict(os.environ)
import three_pillars.environment, three_pillars.settings
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
for module in pkgutil.walk_packages(three_pillars.__path__, "three_pillars."):
    import_module(module.name)
print(dict(os.environ) == before)
"""


def test_importing_the_library_has_no_side_effects(tmp_path: Path) -> None:
    """Importing any module neither changes ``os.environ`` nor raises on invalid variables."""
    invalid_variables = {
        "OTEL_TRACES_SAMPLER": "unknown",
        "OTEL_BSP_SCHEDULE_DELAY": " ",
        "STORE_PORT": "x",
    }
    lines = run_python(IMPORT_EVERYTHING, tmp_path, **invalid_variables).splitlines()
    assert lines == ["[]", "True"]


FOREIGN_APP = """
import asyncio, sys, httpx2, three_pillars
from fastapi import FastAPI

app = FastAPI()

@app.get("/hello/{name}")
async def hello(name: str) -> dict[str, str]:
    return {"trace_id": three_pillars.trace_id()}

three_pillars.install(app, three_pillars.ServiceResource("foreign"))
http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://foreign")
print(asyncio.run(http.get("/hello/you")).text)
print(asyncio.run(http.get("/metrics")).text)
print(three_pillars.__file__, {"services", "three_pillar_demo"} & set(sys.modules))
"""


def test_a_copy_of_the_library_works_alone(tmp_path: Path) -> None:
    """A copy of the folder ``three_pillars`` works in an application outside this repository."""
    library_copy = tmp_path / "three_pillars"
    shutil.copytree(LIBRARY, library_copy, ignore=shutil.ignore_patterns("__pycache__"))
    output = run_python(FOREIGN_APP, tmp_path)
    line, response, *metrics, imported_modules = output.splitlines()
    assert json.loads(line)["trace_id"] == json.loads(response)["trace_id"]
    assert json.loads(line)["http.route"] == "/hello/{name}"
    labels = 'endpoint="/hello/{name}",method="GET",status="200"'
    assert f"foreign_requests_total{{{labels}}} 1.0" in metrics
    assert imported_modules == f"{library_copy / '__init__.py'} set()"
