"""What ``bench/http`` compares and how it counts: each arm is what its name says, and no slow or bad answer is left out."""

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

from bench import collector, report
from bench.http import load, profile, running, tables
from bench.http.arms import ARMS, ROOT, ROUTES, ZERO_CODE, Route
from bench.http.rounds import Result, Round
from bench.http.steady import steady
from tests.demo.local_store.conftest import span, traces
from tests.processes import Sink, wait_for

ASKED = 5
CANONICAL = "http.response.status_code"
needs_taskset = pytest.mark.skipif(
    not shutil.which("taskset") or os.cpu_count() == 1,
    reason="the service gets a core of its own: taskset, and two cores",
)
needs_wrk = pytest.mark.skipif(
    not shutil.which("wrk"), reason="wrk is the load generator: apt install wrk"
)
needs_zero_code = pytest.mark.skipif(
    not ZERO_CODE.exists(), reason=".venv-bench is made by make bench"
)


@pytest.mark.parametrize(
    "module", ["bench.http", "bench.http.profile", "bench.collector", "bench.footprint"]
)
@pytest.mark.parametrize("word", ["--quik", "nonsense"])
def test_a_wrong_word_measures_nothing(module: str, word: str) -> None:
    """What is no option is refused before anything is started, with the word and where to look: a run may take half an hour."""
    done = subprocess.run(
        [sys.executable, "-m", module, word],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert word in done.stderr
    assert "usage: " in done.stderr


def told_by(
    arm: str, sink: Sink, folder: Path, least: int = 0, **settings: str
) -> tuple[dict[str, list[Any]], list[str]]:
    """Ask ``arm`` for nothing, five times; returns spans, lines and metrics that it sent, and what it wrote."""
    route, log = ROUTES["nothing"], folder / "log"
    with running.service(ARMS[arm], route, sink.url, log, **settings) as service:
        for _ in range(ASKED):
            answer = httpx2.get(f"http://127.0.0.1:{service.port}{route.path}", trust_env=False)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        wait_for("what is sent while it runs", lambda: len(sink.spans) >= least, 30)
    parts = {
        "/v1/traces": ("resource_spans", "scope_spans", "spans"),
        "/v1/logs": ("resource_logs", "scope_logs", "log_records"),
        "/v1/metrics": ("resource_metrics", "scope_metrics", "metrics"),
    }
    found: dict[str, list[Any]] = {names[2]: [] for names in parts.values()}
    for path, message in sink.received:
        outer, middle, inner = parts[path]
        scopes = [scope for part in getattr(message, outer) for scope in getattr(part, middle)]
        found[inner] += [
            (scope.scope.name, each) for scope in scopes for each in getattr(scope, inner)
        ]
    return found, [line for line in log.read_text().splitlines() if CANONICAL in line]


def counted(found: dict[str, list[Any]]) -> int:
    """How many requests the newest export of the standard histogram holds."""
    histograms = [
        each for _, each in found["metrics"] if each.name == "http.server.request.duration"
    ]
    return sum(point.count for point in histograms[-1].histogram.data_points) if histograms else 0


@needs_taskset
def test_what_the_collector_compresses_is_counted() -> None:
    """The receiver counts the spans of a compressed request, as the Collector sends them, once."""
    body = traces(span("one"), span("two")).SerializeToString()
    with running.receiver() as receiver:
        for content in (gzip.compress(body), body):
            httpx2.post(
                f"http://127.0.0.1:{receiver.port}/v1/traces", content=content, trust_env=False
            ).raise_for_status()
        assert running.taken(receiver)["spans"] == 4
        assert running.taken(receiver)["spans"] == 0


@needs_taskset
def test_bare_tells_nobody_anything(sink: Sink, tmp_path: Path) -> None:
    """The arm that all are compared with sends nothing and writes no canonical line."""
    _, written = told_by("bare", sink, tmp_path)
    assert not sink.received
    assert not written


@needs_taskset
@pytest.mark.parametrize(
    ("arm", "spans", "lines"), [("ours", ASKED, ASKED), ("always_off", 0, ASKED)]
)
def test_ours_tells_all_three_signals(
    sink: Sink, tmp_path: Path, arm: str, spans: int, lines: int
) -> None:
    """Ours tells of every request in all three signals and on stdout, and with the sampler off all but the span."""
    found, written = told_by(arm, sink, tmp_path)
    assert (len(found["spans"]), len(found["log_records"]), counted(found), len(written)) == (
        spans,
        lines,
        ASKED,
        ASKED,
    )


@needs_taskset
def test_spans_are_all_that_the_instrumentation_makes(sink: Sink, tmp_path: Path) -> None:
    """The arm that shows what the instrumentation leaves for everything else makes one span a request, and nothing besides."""
    found, written = told_by("spans", sink, tmp_path, ASKED)
    assert [scope for scope, _ in found["spans"]] == ASKED * [
        "opentelemetry.instrumentation.fastapi"
    ]
    assert (found["metrics"], found["log_records"], written) == ([], [], [])


@needs_taskset
def test_a_disabled_sdk_leaves_the_line(sink: Sink, tmp_path: Path) -> None:
    """With the SDK disabled nothing is sent, and the canonical line is still written."""
    _, written = told_by("disabled", sink, tmp_path)
    assert not any(path == "/v1/traces" for path, _ in sink.received)
    assert len(written) == ASKED


@needs_taskset
def test_fastapi_tells_by_itself(sink: Sink, tmp_path: Path) -> None:
    """FastAPI's own arm sends its spans, one of them the request's, and its metrics, with nothing of ours."""
    found, written = told_by("fastapi", sink, tmp_path)
    assert {scope for name in ("spans", "metrics") for scope, _ in found[name]} == {"fastapi"}
    assert Counter(span.kind for _, span in found["spans"])[2] == ASKED
    assert counted(found) == ASKED
    assert not written


@needs_taskset
@needs_zero_code
def test_zero_code_has_its_defaults(sink: Sink, tmp_path: Path) -> None:
    """OpenTelemetry's distribution makes three spans a request in its old conventions: none of our defaults reaches it."""
    found, written = told_by("zero-code", sink, tmp_path, 3 * ASKED, OTEL_BSP_SCHEDULE_DELAY="100")
    assert len(found["spans"]) == 3 * ASKED
    assert {scope for scope, _ in found["spans"]} == {"opentelemetry.instrumentation.fastapi"}
    assert "http.status_code" in {
        each.key for _, span in found["spans"] for each in span.attributes
    }
    assert not written


@contextmanager
def answering(status: int, stall: float = 0) -> Iterator[int]:
    """A server on a port of its own that answers ``status``; nobody gets one in the first ``stall`` seconds of questions."""
    began: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            began.append(time.monotonic())
            time.sleep(max(0.0, began[0] + stall - time.monotonic()))
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


def test_a_stall_counts_for_all_who_would_have_come() -> None:
    """The open loop times a request from its planned moment, so a stall is felt by all who would have come in it."""
    with answering(200, stall=1) as port:
        seen = steady(port, Route("", "/"), 100, 1)
    assert (seen.requests, seen.errors) == (100, 0)
    assert seen.p50 >= 300, (
        "a closed loop would have seen one slow request for each of its connections"
    )


def test_the_open_loop_counts_errors() -> None:
    """An answer that is not 2xx is an error, and its time is not among the figures."""
    with answering(500) as port:
        seen = steady(port, Route("", "/"), 50, 0.5)
    assert (seen.requests, seen.errors) == (0, 25)


@needs_taskset
@needs_wrk
def test_wrk_counts_errors() -> None:
    """The bad answers that wrk counts reach the report."""
    with answering(500) as port:
        assert load.wrk(port, Route("", "/"), 1).errors > 0


def test_an_arm_with_errors_has_no_figures() -> None:
    """One bad answer among thousands, and the arm is refused: fast errors are no throughput."""
    good, bad = (
        Result([Round(load.Load(1000, 1, errors, 1, 2, 0.1), 1, 0.1, 100, 1000, EMPTY)])
        for errors in (0, 1)
    )
    rows = tables.kept("nothing", {"bare": good, "ours": bad}).rows
    assert [row[1] for row in rows] == ["1,000", "refused: 1 errors"]
    assert not any(rows[1][2:])


EMPTY = dict.fromkeys(
    ("spans", "servers", "lines", "counted", "series", "traces", "logs", "metrics"), 0
)


def test_a_section_takes_its_place_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run writes its own section, and leaves what people wrote around it."""
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- kept -->\nold\n<!-- /kept -->\nAfter.\n")
    monkeypatch.setattr(report, "PAGE", page)
    report.write(
        report.Section("kept", "Words.", [report.Table("", ("arm", "rate"), [("bare", "1")])])
    )
    text = page.read_text()
    assert text.startswith(
        "Before.\n<!-- kept -->\nWords.\n\n| arm | rate |\n| --- | ---: |\n| bare | 1 |\n\nMeasured "
    )
    assert text.endswith("<!-- /kept -->\nAfter.\n")
    assert "old" not in text


@pytest.mark.parametrize("section", ["kept", "added", "profile", "collector", "footprint"])
def test_the_page_has_a_place_for_each_section(section: str) -> None:
    """Whatever a run writes has its place in docs/benchmarks.md."""
    page = report.PAGE.read_text()
    assert page.count(f"<!-- {section} -->") == page.count(f"<!-- /{section} -->") == 1


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (
            "run (/x/uvicorn/server.py:1);__call__ (/x/telemetry/edge.py:1);app (/x/fastapi/routing.py:9)",
            "the app",
        ),
        (
            "__call__ (/x/telemetry/requests.py:1);tell (/x/telemetry/requests.py:9)",
            "telemetry/: middleware and edge",
        ),
        (
            "tell (/x/telemetry/requests.py:9);render (/x/structlog/processors.py:1);dumps (/lib/json/encoder.py:1)",
            "log line: proc",
        ),
        (
            "__init__ (/x/telemetry/requests.py:9);template (/x/telemetry/requests.py:1);matches (/x/starlette/r.py:1)",
            "telemetry/: f",
        ),
        (
            "run (/lib/threading.py:1);export (/x/opentelemetry/exporter/otlp/proto/http/__init__.py:1)",
            "the threads that export",
        ),
        (
            "tell (/x/telemetry/requests.py:9);proc (/x/structlog/base.py:1);text (/x/delivery/redact.py:1)",
            "telemetry/: redaction",
        ),
        ("dumps (/lib/json/encoder.py:1)", "everything else"),
    ],
)
def test_a_look_is_booked_once(stack: str, part: str) -> None:
    """A stack counts for the part that caused it: JSON for the log line, routing for who looks up the route."""
    booked = profile.book(f"{stack} 3\n")
    assert [(name.startswith(part), count) for name, count in booked.items()] == [(True, 3)]


def test_the_collectors_pipelines_are_what_they_are_called() -> None:
    """One pipeline is otel-collector.yaml on other ports, the other its receiver and exporter and nothing between."""
    ports = {name: 50000 + number for number, name in enumerate(collector.PORTS)}
    ours, plain = (yaml.safe_load(collector.config(which, ports)) for which in ("ours", "plain"))
    stands = (ROOT / "otel-collector.yaml").read_text()
    assert ours["processors"] == yaml.safe_load(stands)["processors"]
    assert not any(
        f":{usual}" in collector.config("ours", ports) for usual in collector.PORTS.values()
    )
    assert plain["service"]["pipelines"] == {
        "traces": {"receivers": ["otlp"], "exporters": ["otlp_http/tempo"]}
    }
    assert set(plain["exporters"]["otlp_http/tempo"]) == {"endpoint"}
    assert "processors" not in plain
