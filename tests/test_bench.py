"""The benchmarks: each arm has the telemetry in its name, and no failed request is left out."""

import gzip
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from bench import collector, report, web_pages
from bench.http import in_process, in_process_worker, load, profile, running, tables
from bench.http.arms import (
    ARMS,
    IN_PROCESS_ARMS,
    PEER,
    PREVIOUS,
    ROOT,
    ROUTES,
    ZERO_CODE,
    Route,
)
from bench.http.rounds import Result, Round
from bench.http.steady import steady
from tests.demo.local_store.messages import span, trace_request
from tests.processes import InMemoryCollector, wait_for

REQUESTS = 5
CANONICAL = "http.response.status_code"
needs_taskset = pytest.mark.skipif(
    not shutil.which("taskset") or os.cpu_count() == 1,
    reason="the service needs a core of its own: taskset, and two cores",
)
needs_wrk = pytest.mark.skipif(
    not shutil.which("wrk"), reason="wrk is the load generator: apt install wrk"
)
needs_zero_code = pytest.mark.skipif(
    not ZERO_CODE.exists(), reason=".venv-bench is made by make bench"
)
needs_peer = pytest.mark.skipif(not PEER.exists(), reason=".bench-peer is made by make bench")
needs_previous = pytest.mark.skipif(
    not PREVIOUS.exists(), reason=".bench-previous is made by make bench"
)


@pytest.mark.parametrize(
    "module",
    [
        "bench.http",
        "bench.http.in_process",
        "bench.http.profile",
        "bench.collector",
        "bench.tiers",
        "bench.footprint",
    ],
)
@pytest.mark.parametrize("word", ["--quik", "nonsense"])
def test_an_unknown_argument_is_refused(module: str, word: str) -> None:
    """An unknown argument is refused with the usage before anything is measured."""
    result = subprocess.run(
        [sys.executable, "-m", module, word],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert word in result.stderr
    assert "usage: " in result.stderr


def telemetry_of(
    arm: str, collector: InMemoryCollector, folder: Path, min_spans: int = 0, **settings: str
) -> tuple[dict[str, list[Any]], list[str]]:
    """Send five requests to an arm: the app with one kind of telemetry.

    Returns:
        The exported items by kind (``spans``, ``log_records`` and ``metrics``), each with the name
        of its instrumentation scope; and the canonical log lines on stdout.
    """
    route = ARMS[arm].route("nothing")
    log = folder / "log"
    with running.service(ARMS[arm], route, collector.url, log, **settings) as service:
        for _ in range(REQUESTS):
            url = f"http://127.0.0.1:{service.port}{route.path}"
            response = httpx2.get(url, trust_env=False)
            assert (response.status_code, response.json()) == (200, {"status": "ok"})
        wait_for(
            "spans that are exported while it runs", lambda: len(collector.spans) >= min_spans, 30
        )
    parts = {
        "/v1/traces": ("resource_spans", "scope_spans", "spans"),
        "/v1/logs": ("resource_logs", "scope_logs", "log_records"),
        "/v1/metrics": ("resource_metrics", "scope_metrics", "metrics"),
    }
    exported: dict[str, list[Any]] = {names[2]: [] for names in parts.values()}
    for path, message in collector.received:
        outer, middle, inner = parts[path]
        scopes = [scope for part in getattr(message, outer) for scope in getattr(part, middle)]
        exported[inner] += [
            (scope.scope.name, item) for scope in scopes for item in getattr(scope, inner)
        ]
    return exported, [line for line in log.read_text().splitlines() if CANONICAL in line]


def counted(exported: dict[str, list[Any]]) -> int:
    """Return the number of requests in the newest export of the standard request histogram."""
    histograms = [
        metric for _, metric in exported["metrics"] if metric.name == "http.server.request.duration"
    ]
    if not histograms:
        return 0
    return sum(point.count for point in histograms[-1].histogram.data_points)


@needs_taskset
def test_compressed_requests_are_counted() -> None:
    """The receiver counts the spans of compressed and of plain requests, each exactly once."""
    body = trace_request(span("one"), span("two")).SerializeToString()
    with running.receiver() as receiver:
        for content in (gzip.compress(body), body):
            httpx2.post(
                f"http://127.0.0.1:{receiver.port}/v1/traces", content=content, trust_env=False
            ).raise_for_status()
        assert running.take_counts(receiver)["spans"] == 4
        assert running.take_counts(receiver)["spans"] == 0


@needs_taskset
def test_bare_emits_nothing(collector: InMemoryCollector, tmp_path: Path) -> None:
    """The arm ``bare`` exports no telemetry and writes no canonical log line."""
    _, written = telemetry_of("bare", collector, tmp_path)
    assert not collector.received
    assert not written


@needs_taskset
@pytest.mark.parametrize(
    ("arm", "spans", "lines"), [("ours", REQUESTS, REQUESTS), ("always_off", 0, REQUESTS)]
)
def test_ours_emits_all_three_signals(
    collector: InMemoryCollector, tmp_path: Path, arm: str, spans: int, lines: int
) -> None:
    """The arm ``ours`` emits every request in all signals; ``always_off`` omits only the spans."""
    exported, written = telemetry_of(arm, collector, tmp_path)
    assert (
        len(exported["spans"]),
        len(exported["log_records"]),
        counted(exported),
        len(written),
    ) == (
        spans,
        lines,
        REQUESTS,
        REQUESTS,
    )


@needs_taskset
@needs_previous
def test_the_previous_release_has_its_own_code(
    collector: InMemoryCollector, tmp_path: Path
) -> None:
    """The arm ``previous`` sends all three signals with the library of the previous release."""
    exported, written = telemetry_of("previous", collector, tmp_path)
    assert len(exported["spans"]) == len(exported["log_records"]) == len(written) == REQUESTS
    arm = ARMS["previous"]
    command = [*arm.python, "-P", "-c", "import three_pillars as t; print(t.__file__)"]
    library = subprocess.run(command, cwd=arm.root, capture_output=True, text=True, check=True)
    assert Path(library.stdout).is_relative_to(PREVIOUS)


@needs_taskset
@needs_peer
def test_the_peer_sends_its_spans(tmp_path: Path) -> None:
    """The arm ``peer`` runs the peer's own app, which sends four spans a request and no more."""
    arm = ARMS["peer"]
    route = arm.route("nothing")
    log = tmp_path / "log"
    received = Counter[str]()

    def all_spans_arrived() -> bool:
        received.update(running.take_counts(receiver))
        return received["spans"] >= 4 * REQUESTS

    with running.receiver() as receiver:
        endpoint = f"http://127.0.0.1:{receiver.port}"
        settings = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
        with running.service(arm, route, endpoint, log, **settings) as service:
            for _ in range(REQUESTS):
                url = f"http://127.0.0.1:{service.port}{route.path}"
                assert httpx2.get(url, trust_env=False).json() == {"Hello": "World"}
            wait_for("spans of the peer", all_spans_arrived, 30)
        received.update(running.take_counts(receiver))
    assert (received["servers"], received["spans"]) == (REQUESTS, 4 * REQUESTS)
    assert (received["lines"], received["counted"]) == (0, 0)
    assert log.read_text().count("Hello World") == REQUESTS


def test_the_peer_serves_one_route() -> None:
    """The arm ``peer`` is measured on the do-nothing route only, under its own path."""
    peer = ARMS["peer"]
    assert [name for name in ROUTES if peer.serves(name)] == ["nothing"]
    assert peer.route("nothing").path == "/"
    assert ARMS["ours"].route("nothing") == ROUTES["nothing"]


@pytest.mark.parametrize(
    "arm", ["ours", *(pytest.param(arm, marks=pytest.mark.long) for arm in ("plain", "spans"))]
)
def test_the_cost_in_one_process_is_that_of_the_arm(
    collector: InMemoryCollector, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    """In one process, an arm sends one span a request, and the requests without telemetry none."""
    monkeypatch.setattr(in_process, "BLOCKS", 2)
    cost = in_process.measure(IN_PROCESS_ARMS[arm], "nothing", collector.url)
    assert cost.bare > 0
    assert cost.times_bare > 1
    requests = in_process_worker.WARM_UP_REQUESTS + 2 * in_process.REQUESTS_IN_BLOCK
    assert len(collector.spans) == requests


@needs_taskset
def test_spans_emits_one_span_a_request(collector: InMemoryCollector, tmp_path: Path) -> None:
    """The arm ``spans`` exports one span a request and nothing else."""
    exported, written = telemetry_of("spans", collector, tmp_path, REQUESTS)
    assert [scope for scope, _ in exported["spans"]] == REQUESTS * [
        "opentelemetry.instrumentation.fastapi"
    ]
    assert (exported["metrics"], exported["log_records"], written) == ([], [], [])


@needs_taskset
def test_disabled_still_writes_the_line(collector: InMemoryCollector, tmp_path: Path) -> None:
    """The arm ``disabled`` exports no spans and still writes the canonical log line."""
    _, written = telemetry_of("disabled", collector, tmp_path)
    assert not any(path == "/v1/traces" for path, _ in collector.received)
    assert len(written) == REQUESTS


@needs_taskset
def test_fastapi_emits_its_own_telemetry(collector: InMemoryCollector, tmp_path: Path) -> None:
    """The arm ``fastapi`` exports FastAPI's own spans and metrics and nothing else."""
    exported, written = telemetry_of("fastapi", collector, tmp_path)
    assert {scope for name in ("spans", "metrics") for scope, _ in exported[name]} == {"fastapi"}
    assert Counter(span.kind for _, span in exported["spans"])[2] == REQUESTS
    assert counted(exported) == REQUESTS
    assert not written


@needs_taskset
@needs_zero_code
def test_zero_code_uses_its_defaults(collector: InMemoryCollector, tmp_path: Path) -> None:
    """The arm ``zero-code`` exports three spans a request, in the old semantic conventions."""
    exported, written = telemetry_of(
        "zero-code", collector, tmp_path, 3 * REQUESTS, OTEL_BSP_SCHEDULE_DELAY="100"
    )
    assert len(exported["spans"]) == 3 * REQUESTS
    assert {scope for scope, _ in exported["spans"]} == {"opentelemetry.instrumentation.fastapi"}
    assert "http.status_code" in {
        attribute.key for _, span in exported["spans"] for attribute in span.attributes
    }
    assert not written


@contextmanager
def serving(status: int, stall: float = 0) -> Iterator[int]:
    """Run a server that stalls ``stall`` seconds, then answers with ``status``; yield its port."""
    request_times: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            request_times.append(time.monotonic())
            time.sleep(max(0.0, request_times[0] + stall - time.monotonic()))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_stall_delays_every_request_that_was_due() -> None:
    """The open loop counts latency from the planned time, so a stall delays every due request."""
    with serving(200, stall=1) as port:
        measured = steady(port, Route("", "/"), 100, 1)
    assert (measured.requests, measured.errors) == (100, 0)
    assert measured.p50 >= 300, "a closed loop would see one slow request for each connection"


def test_the_open_loop_counts_errors() -> None:
    """The open loop counts an answer other than 2xx as an error, without a latency."""
    with serving(500) as port:
        measured = steady(port, Route("", "/"), 50, 0.5)
    assert (measured.requests, measured.errors) == (0, 25)


@needs_taskset
@needs_wrk
def test_wrk_counts_errors() -> None:
    """The figures of wrk count answers other than 2xx as errors."""
    with serving(500) as port:
        assert load.wrk(port, Route("", "/"), 1).errors > 0


def test_an_arm_with_errors_has_no_figures() -> None:
    """An arm with a single error among thousands of answers is shown without figures."""
    good, bad = (
        Result([Round(load.Load(1000, 1, errors, 1, 2, 0.1), 1, 0.1, 100, 1000, NO_ITEMS)])
        for errors in (0, 1)
    )
    rows = tables.throughput_table("nothing", {"bare": good, "ours": bad}).rows
    assert [row[1] for row in rows] == ["1,000", "refused: 1 errors"]
    assert not any(rows[1][2:])


NO_ITEMS = dict.fromkeys(
    ("spans", "servers", "lines", "counted", "series", "traces", "logs", "metrics"), 0
)


def test_a_section_is_replaced_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark replaces its own section of the page and leaves the text around it."""
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- kept -->\nold\n<!-- /kept -->\nAfter.\n")
    monkeypatch.setattr(report, "PAGE", page)
    table = report.Table("", ("arm", "rate"), [("bare", "1")])
    report.write_section(report.Section("kept", "Text.", [table]))
    text = page.read_text()
    assert text.startswith(
        "Before.\n<!-- kept -->\nText.\n\n| arm | rate |\n| --- | ---: |\n| bare | 1 |\n\nMeasured "
    )
    assert text.endswith("<!-- /kept -->\nAfter.\n")
    assert "old" not in text


@pytest.mark.parametrize(
    "section", ["kept", "added", "in-process", "profile", "collector", "tiers", "footprint"]
)
def test_the_page_has_each_section(section: str) -> None:
    """The page docs/benchmarks.md has each section that a benchmark writes, once."""
    page = report.PAGE.read_text()
    assert page.count(f"<!-- {section} -->") == page.count(f"<!-- /{section} -->") == 1


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (
            (
                "run (/x/uvicorn/server.py:1);"
                "__call__ (/x/three_pillars/boundary.py:1);"
                "app (/x/fastapi/routing.py:9)"
            ),
            "the app",
        ),
        (
            (
                "__call__ (/x/three_pillars/request_recorder.py:1);"
                "record (/x/three_pillars/request_recorder.py:9)"
            ),
            "telemetry/: middleware",
        ),
        (
            (
                "record (/x/three_pillars/request_recorder.py:9);"
                "render (/x/structlog/processors.py:1);"
                "dumps (/lib/json/encoder.py:1)"
            ),
            "log record: proc",
        ),
        (
            (
                "_sanitized_scope (/x/three_pillars/boundary.py:9);"
                "match_template (/x/three_pillars/routes.py:1);"
                "matches (/x/starlette/r.py:1)"
            ),
            "telemetry/: f",
        ),
        (
            (
                "run (/lib/threading.py:1);"
                "export (/x/opentelemetry/exporter/otlp/proto/http/__init__.py:1)"
            ),
            "the threads that export",
        ),
        (
            (
                "record (/x/three_pillars/request_recorder.py:9);"
                "proc (/x/structlog/base.py:1);"
                "redact_text (/x/three_pillars/redaction/redact.py:1)"
            ),
            "telemetry/: redaction",
        ),
        ("dumps (/lib/json/encoder.py:1)", "everything else"),
    ],
)
def test_a_sample_belongs_to_one_part(stack: str, part: str) -> None:
    """The profile counts a stack sample for the part of the software that caused it."""
    counts = profile.count_samples(f"{stack} 3\n")
    assert [(name.startswith(part), count) for name, count in counts.items()] == [(True, 3)]


def test_the_collector_pipelines() -> None:
    """The pipeline ``ours`` is otel-collector.yaml, and ``plain`` only receives and exports."""
    ports = {name: 50000 + number for number, name in enumerate(collector.PORTS)}
    full_config, plain_config = (
        yaml.safe_load(collector.config(name, ports)) for name in ("ours", "plain")
    )
    committed = (ROOT / "otel-collector.yaml").read_text()
    assert full_config["processors"] == yaml.safe_load(committed)["processors"]
    assert not any(
        f":{port}" in collector.config("ours", ports) for port in collector.PORTS.values()
    )
    assert plain_config["service"]["pipelines"] == {
        "traces": {"receivers": ["otlp"], "exporters": ["otlp_http/tempo"]}
    }
    assert set(plain_config["exporters"]["otlp_http/tempo"]) == {"endpoint"}
    assert "processors" not in plain_config


def test_the_web_benchmark_uses_every_route() -> None:
    """The large store has 50 services, and each of its 2,000 routes is called."""
    routes = {
        (service, route)
        for calls in web_pages.all_calls()
        for call in calls
        for service, route in zip(call.services, call.routes, strict=True)
    }
    assert {service for service, _ in routes} == set(web_pages.SERVICES)
    assert len(web_pages.SERVICES) == 50
    assert len(routes) == len({route for _, route in routes}) == 2_000
