"""The three pillars of any service: what they say, what they keep quiet about, and that they never stand in the way."""

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
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import three_pillars
from tests.conftest import Build, House
from three_pillar_demo.verify.outcomes import CHECKOUT
from three_pillars.logs import add_trace_ids
from three_pillars.providers import Pillars

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/healthz?probe=1", "/metrics?name[]=up"])
def test_probes_leave_nothing(house: House, path: str) -> None:
    """A probe or a scrape, with or without a query, is answered and leaves no span, no count and no line."""
    assert house.ask("GET", path).status_code == 200
    assert not house.spans
    assert not any(each.count for samples in house.samples().values() for each in samples)
    assert not house.stdout.getvalue()
    assert not house.records


@pytest.mark.parametrize("path", ["/healthzz", "/x/healthz", "/metrics/x", "/?/metrics"])
def test_a_path_that_only_looks_like_a_probe_is_recorded(house: House, path: str) -> None:
    """A path that merely contains a quiet one is told of like any other."""
    house.ask("GET", path)
    assert (len(house.spans), len(house.lines()), len(house.samples()["checkout.requests"])) == (
        1,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("accept", "kind", "end"),
    [("", TEXT, ""), ("*/*", TEXT, ""), (OPENMETRICS, OPENMETRICS, "# EOF\n")],
)
def test_metrics_are_shown_in_both_formats(house: House, accept: str, kind: str, end: str) -> None:
    """``GET /metrics`` answers 200, without a redirect, in the format asked for, under the names people know."""
    house.ask()
    answer = house.ask("GET", "/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(f"{kind}; charset=utf-8")
    assert answer.text.endswith(end)
    samples = [
        sample
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    ]
    found = {
        sample.name: sample.value
        for sample in samples
        if sample.labels.get("http_route") != "/charges"
    }
    labels = [sample.labels for sample in samples if sample.name == "checkout_requests_total"]
    assert labels == [{"method": "POST", "endpoint": "/checkout", "status": "200"}]
    assert found["checkout_requests_total"] == 1
    assert found["checkout_request_latency_seconds_count"] == 1
    assert found["http_server_request_duration_seconds_count"] == 1


def test_strangers_cannot_make_series(house: House) -> None:
    """Made-up paths, methods, hosts and user agents add no label values: cardinality is the house's own decision."""
    for number in range(20):
        stranger = {"host": f"made-up-{number}.example", "user-agent": f"made-up-{number}"}
        house.ask("GET", f"/made-up-{number}", headers=stranger)
        house.ask(f"MADE-UP-{number}", "/checkout", headers=stranger)
        house.ask(headers=stranger)
    samples = house.samples()
    assert (
        "made" not in str([each.labels for series in samples.values() for each in series]).lower()
    )
    assert "made" not in house.ask("GET", "/metrics").text.lower()
    found = {
        (each.labels["method"], each.labels["endpoint"], each.labels["status"]): each.count
        for each in samples["checkout.requests"]
    }
    assert found == {
        ("GET", "unmatched", "404"): 20,
        ("_OTHER", "/checkout", "405"): 20,
        ("POST", "/checkout", "200"): 20,
    }


def test_ids_have_one_spelling() -> None:
    """Small ids are padded with zeros to 32 and 16 lower-case hex digits, and outside a trace there are none."""
    with trace.use_span(NonRecordingSpan(SpanContext(trace_id=0x1, span_id=0xAB, is_remote=False))):
        assert add_trace_ids(None, "info", {}) == {
            "trace_id": "0" * 31 + "1",
            "span_id": "0" * 14 + "ab",
        }
        assert three_pillars.trace_id() == "0" * 31 + "1"
    assert add_trace_ids(None, "info", {}) == {}
    assert three_pillars.trace_id() == ""


def test_a_trace_of_an_inside_caller_goes_on(build: Build) -> None:
    """An inside caller's ``traceparent`` is continued, and its small trace id is spelled alike in answer, line and record."""
    house = build(inside="127.0.0.0/8")
    answer = house.ask(headers={"traceparent": f"00-{1:032x}-{2:016x}-01"})
    assert answer.json()["trace_id"] == f"{1:032x}"
    parent = house.roles[CHECKOUT].parent
    assert parent
    assert parent.span_id == 2
    assert {line["trace_id"] for line in house.lines()} == {f"{1:032x}"}
    assert {record.trace_id for record in house.records} == {1}
    assert [line["span_id"] for line in house.lines()] == [
        f"{record.span_id:016x}" for record in house.records
    ]


def test_a_line_tells_of_its_own_request_only(house: House) -> None:
    """What one request bound to its lines is gone when the next one comes, even over the same connection."""

    async def buy_then_err() -> None:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(house.checkout), base_url="http://shop"
        ) as http:
            await http.post("/checkout")
            await http.get("/nowhere")

    asyncio.run(buy_then_err())
    assert (house.lines()[-1]["outcome"], house.lines()[-2]["outcome"]) == ("invalid", "success")
    assert [name for name in house.lines()[-1] if name.startswith("order.")] == []


def test_libraries_speak_on_stdout_only(house: House) -> None:
    """A library's warning is a JSON line on stdout, and never goes the way that may be the one that fails."""
    logging.getLogger("opentelemetry.exporter").warning("lost %d spans", 3)
    (line,) = house.lines()
    assert (line["level"], line["logger"], line["event"]) == (
        "warning",
        "opentelemetry.exporter",
        "lost 3 spans",
    )
    assert line["timestamp"].endswith("Z")
    assert not house.records


def test_a_crash_is_told_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback that the canonical line carries is not printed again by the server; any other is."""

    async def crash() -> None:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(house.checkout), base_url="http://shop"
        ) as http:
            await http.post("/checkout")

    monkeypatch.setattr("checkout.app.place", None)
    with pytest.raises(TypeError) as raised:
        asyncio.run(crash())
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=raised.value)
    logging.getLogger("uvicorn.error").error("something else", exc_info=OSError("a disk"))
    first, other = house.lines()
    assert (first["outcome"], other["event"]) == ("crashed", "something else")
    assert "TypeError: " in first["exception"]
    assert "OSError: a disk" in other["exception"]


def test_an_event_is_one_line(house: House) -> None:
    """Line breaks in an event or a value are escaped: nobody can forge a line of his own."""
    structlog.get_logger().info("one\r\ntwo", **{"order.id": 'x\n{"outcome": "success"}'})
    logging.getLogger("library").warning("three\r\nfour\u2028five")
    assert len(house.stdout.getvalue().splitlines()) == len(house.lines()) == 2


def test_a_request_that_is_cancelled_is_counted(build: Build) -> None:
    """A request that ends without an answer is counted as 499, and its line says it was abandoned."""
    paying = asyncio.Event()

    async def pay(_request: httpx2.Request) -> httpx2.Response:
        paying.set()
        return await asyncio.Future()

    async def cancel_while_paying() -> None:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(house.checkout), base_url="http://shop"
        ) as http:
            request = asyncio.create_task(http.post("/checkout"))
            async with asyncio.timeout(10):
                await paying.wait()
            request.cancel()
            await asyncio.wait([request])

    house = build(transport=httpx2.MockTransport(pay))
    asyncio.run(cancel_while_paying())
    (counted,) = house.samples()["checkout.requests"]
    assert (counted.labels["status"], counted.count) == ("499", 1)
    (line,) = house.lines()
    assert (line["outcome"], line["level"], line["http.response.status_code"]) == (
        "abandoned",
        "warning",
        499,
    )
    assert len(line["trace_id"]) == 32


def test_a_hanging_provider_does_not_hang_the_service() -> None:
    """Shutting down gives up at one deadline for all, says so, and gives the pillars that are well their chance."""
    hang, done = threading.Event(), []
    stuck, well = (
        SimpleNamespace(shutdown=hang.wait),
        SimpleNamespace(shutdown=lambda: done.append(1)),
    )
    pillars: Any = Pillars
    began = time.monotonic()
    assert pillars(stuck, well, stuck, None).shutdown(0.2) is False
    assert time.monotonic() - began < 30, "it came back at all: nobody lets go of what hangs"
    hang.set()
    assert pillars(well, well, well, None).shutdown(5) is True
    assert len(done) == 1 + 3


def test_an_app_that_fails_at_its_end_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an app does when it ends may fail: its last batches are sent all the same, and its failure goes on."""

    @asynccontextmanager
    async def failing(_app: FastAPI) -> AsyncIterator[None]:
        yield
        raise ConnectionError("the pool is gone")

    async def live() -> None:
        async with app.router.lifespan_context(app):
            assert not done

    done: list[str] = []
    pillars = Pillars(TracerProvider(), MeterProvider(), LoggerProvider(), CollectorRegistry())
    for name in ("traces", "metrics", "logs"):
        monkeypatch.setattr(getattr(pillars, name), "shutdown", partial(done.append, name))
    app = FastAPI(lifespan=failing)
    three_pillars.install(app, "failing", package="three-pillar-demo", pillars=pillars)
    with pytest.raises(ConnectionError, match="the pool is gone"):
        asyncio.run(live())
    assert sorted(done) == ["logs", "metrics", "traces"]


def run(code: str, folder: Path, **environment: str) -> str:
    """The stdout of ``code`` in a Python of its own, started in ``folder``, where no OTEL variable but these is set."""
    (folder / "script.py").write_text(code)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SETTINGS = """
import gc, json, os, sys, three_pillars
from three_pillars.providers import to_collector
from fastapi import FastAPI
from opentelemetry.sdk.resources import Resource
pillars = to_collector("checkout", "three-pillar-demo")
three_pillars.install(FastAPI(), "checkout", package="three-pillar-demo", pillars=pillars)
more = {"sampler": pillars.traces.sampler.get_description(), "interval": os.environ["OTEL_METRIC_EXPORT_INTERVAL"]}
more["switch"], more["frozen"] = sys.getswitchinterval(), gc.get_freeze_count()
known, Resource.__hash__ = pillars.traces.resource, lambda _: 1 / 0
more["hash"] = hash(known)
print(json.dumps({**pillars.traces.resource.attributes, **more}))
"""


def test_the_operator_has_the_last_word(tmp_path: Path) -> None:
    """Standard ``OTEL_*`` variables win over our defaults, and our defaults hold without them."""
    ours = json.loads(run(SETTINGS, tmp_path))
    assert ours["switch"] == pytest.approx(0.001), (
        "the threads that encode would keep requests waiting"
    )
    assert ours["frozen"] > 10_000, (
        "a full collection would look through all that was loaded, and nobody be served meanwhile"
    )
    assert ours["hash"], (
        "the encoders would have the resource written as JSON for every span and record"
    )
    assert (
        ours["service.name"],
        ours["service.namespace"],
        ours["deployment.environment.name"],
    ) == (
        "checkout",
        "shop",
        "demo",
    )
    assert ours["interval"] == "1000"
    assert uuid.UUID(ours["service.instance.id"]), "the counters of several workers add up"
    theirs = json.loads(
        run(
            SETTINGS,
            tmp_path,
            OTEL_SERVICE_NAME="theirs",
            OTEL_RESOURCE_ATTRIBUTES="service.namespace=company,deployment.environment.name=prod,team=red",
            OTEL_METRIC_EXPORT_INTERVAL="15000",
            OTEL_TRACES_SAMPLER="always_off",
        )
    )
    assert (theirs["service.name"], theirs["service.namespace"], theirs["team"]) == (
        "theirs",
        "company",
        "red",
    )
    assert (theirs["deployment.environment.name"], theirs["interval"], theirs["sampler"]) == (
        "prod",
        "15000",
        "AlwaysOffSampler",
    )
    assert theirs["service.version"] == ours["service.version"]


COPIED = ("telemetry", "guards", "delivery", "settings")
FOREIGN = """
import asyncio, sys, delivery, guards, httpx2, settings, telemetry
from fastapi import FastAPI
app = FastAPI()
@app.get("/hello/{name}")
async def hello(name: str) -> dict[str, str]:
    return {"trace_id": three_pillars.trace_id()}
three_pillars.install(app, "foreign", package="fastapi")
http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://foreign")
print(asyncio.run(http.get("/hello/you")).text, asyncio.run(http.get("/metrics")).text, sep="\\n")
copied = [each.__file__ for each in (three_pillars, guards, delivery, settings)]
print(*copied, {"checkout", "payment", "doors", "demo"} & set(sys.modules))
"""


def test_a_foreign_app_can_copy_telemetry(tmp_path: Path) -> None:
    """A copy of four folders gives an app that never heard of checkouts its spans, counts and lines."""
    for folder in COPIED:
        shutil.copytree(
            Path(three_pillars.__file__).parents[1] / folder,
            tmp_path / folder,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    line, answer, *shown, last = run(FOREIGN, tmp_path).splitlines()
    assert json.loads(line)["trace_id"] == json.loads(answer)["trace_id"]
    assert json.loads(line)["http.route"] == "/hello/{name}"
    assert 'foreign_requests_total{endpoint="/hello/{name}",method="GET",status="200"} 1.0' in shown
    assert last == " ".join(f"{tmp_path / each / '__init__.py'}" for each in COPIED) + " set()"
