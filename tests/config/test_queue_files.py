"""The Collector's queue files: they shrink, and a damaged one does not keep the Collector down."""

import os
import random
import secrets
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.config.over_limit import key_values, nanoseconds, resource_of
from tests.private_ports import free_port
from tests.processes import run_collector, wait_for
from tests.real_collector import RealCollector, collector_config, run_real_collector
from three_pillar_demo.stack import queue_files

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]  # The Collector may be built first.

MIB = 2**20
PAGE_BYTES = 4096
COMPACTION = collector_config()["extensions"]["file_storage"]["compaction"]
NEEDED_MIB: int = COMPACTION["rebound_needed_threshold_mib"]


def send_spans(collector: RealCollector, spans: int, span_bytes: int) -> None:
    """Send ``spans`` spans of at least ``span_bytes``, each in a request of its own.

    The bytes are in a link, whose attributes the redaction does not read, which would take long.
    """
    for _ in range(spans):
        request = ExportTraceServiceRequest()
        resource_spans = request.resource_spans.add(resource=resource_of("sender"))
        span = resource_spans.scope_spans.add().spans.add(
            trace_id=secrets.token_bytes(16),
            span_id=secrets.token_bytes(8),
            start_time_unix_nano=nanoseconds(),
            end_time_unix_nano=nanoseconds(),
        )
        span.links.add(attributes=key_values({"bytes": secrets.token_bytes(span_bytes)}))
        response = httpx2.post(
            f"{collector.url}/v1/traces",
            content=request.SerializeToString(),
            headers={"content-type": "application/x-protobuf"},
            timeout=60,
            trust_env=False,
        )
        assert response.is_success, response.text


def test_queue_file_shrinks_once_the_queue_is_sent(tmp_path: Path) -> None:
    """A queue file that grew while a backend was down shrinks once little of the queue is left."""
    port = free_port()
    spans = 2 * NEEDED_MIB
    with run_real_collector(tmp_path, f"http://127.0.0.1:{port}") as collector:
        send_spans(collector, spans, MIB)
        file = collector.queue_file("tempo", "traces")
        assert file.stat().st_size > spans * MIB
        with run_collector(port) as backend:
            wait_for("all spans", lambda: len(backend.spans) >= spans)
            wait_for("a small file", lambda: file.stat().st_size < NEEDED_MIB * MIB)
            assert len(backend.spans) == spans
            send_spans(collector, 1, MIB)  # The queue works after the change of its file.
            wait_for("one more span", lambda: len(backend.spans) > spans)
        assert sorted(path.name for path in collector.data.iterdir()) == [
            "exporter_otlp_http_loki_logs",
            "exporter_otlp_http_prometheus_metrics",
            "exporter_otlp_http_tempo_traces",
        ]


def cut_to(pages: int) -> Callable[[Path], None]:
    """Return a function that cuts a file to its first ``pages`` pages."""
    return lambda path: os.truncate(path, pages * PAGE_BYTES)


def overwrite(first_page: int, page_count: int | None, content: bytes) -> Callable[[Path], None]:
    """Return a function that overwrites pages, or all pages from ``first_page`` on."""

    def damage(path: Path) -> None:
        count = page_count or path.stat().st_size // PAGE_BYTES - first_page
        with path.open("r+b") as file:
            file.seek(first_page * PAGE_BYTES)
            file.write(content * count)

    return damage


def overwrite_some(path: Path) -> None:
    """Overwrite one page in ten, apart from the first two."""
    draw = random.Random(1)  # noqa: S311  (positions, not secrets)
    pages = path.stat().st_size // PAGE_BYTES
    with path.open("r+b") as file:
        for page in draw.sample(range(2, pages), pages // 10):
            file.seek(page * PAGE_BYTES)
            file.write(secrets.token_bytes(PAGE_BYTES))


def replace_by_text(path: Path) -> None:
    """Replace the file by a text."""
    path.write_text("no database\n" * 1000)


RANDOM_PAGE = secrets.token_bytes(PAGE_BYTES)
DAMAGES = {
    "cut to a page": cut_to(1),
    "cut to three pages": cut_to(3),
    "cut to a hundred pages": cut_to(100),
    "both meta pages zero": overwrite(0, 2, bytes(PAGE_BYTES)),
    "both meta pages random": overwrite(0, 2, RANDOM_PAGE),
    "all pages zero but the meta pages": overwrite(2, None, bytes(PAGE_BYTES)),
    "all pages random but the meta pages": overwrite(2, None, RANDOM_PAGE),
    "some pages random": overwrite_some,
    "a text": replace_by_text,
}


@pytest.fixture(scope="module")
def filled_queue(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The content of a queue file with spans, of a Collector that was killed."""
    folder = tmp_path_factory.mktemp("filled")
    with run_real_collector(folder, f"http://127.0.0.1:{free_port()}") as collector:
        send_spans(collector, 100, 5000)
        collector.process.kill()
        collector.process.wait()
        return collector.queue_file("tempo", "traces").read_bytes()


def test_intact_queue_file_is_left_alone(filled_queue: bytes, tmp_path: Path) -> None:
    """The queue file of a killed Collector is intact, stays, and is sent after the next start."""
    queue = tmp_path / "queue"
    queue.mkdir()
    (queue / "exporter_otlp_http_tempo_traces").write_bytes(filled_queue)
    (queue / "exporter_otlp_http_loki_logs").touch()
    assert queue_files.set_damaged_aside(queue) == []
    with run_collector() as backend, run_real_collector(tmp_path, backend.url):
        wait_for("all spans", lambda: len(backend.spans) == 100)


def test_queue_of_a_running_collector_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that a Collector uses stays even if it looks damaged, until the Collector ends."""
    monkeypatch.setattr(queue_files, "MAGIC", 0)  # Now every file looks damaged.
    with run_real_collector(tmp_path, f"http://127.0.0.1:{free_port()}") as collector:
        send_spans(collector, 1, 10)
        names = sorted(path.name for path in collector.data.iterdir())
        assert len(names) == 3
        assert queue_files.set_damaged_aside(collector.data) == []
        assert sorted(path.name for path in collector.data.iterdir()) == names
    aside = [path for path, _ in queue_files.set_damaged_aside(collector.data)]
    assert sorted(path.name.split(queue_files.ASIDE)[0] for path in aside) == names


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_queue_file_is_set_aside(damage: str, filled_queue: bytes, tmp_path: Path) -> None:
    """A damaged queue file is kept under another name, and the Collector starts and forwards."""
    queue = tmp_path / "queue"
    queue.mkdir()
    file = queue / "exporter_otlp_http_tempo_traces"
    file.write_bytes(filled_queue)
    DAMAGES[damage](file)
    damaged = file.read_bytes()
    [(aside, reason)] = queue_files.set_damaged_aside(queue)
    assert reason
    assert aside.read_bytes() == damaged
    assert not file.exists()
    assert queue_files.set_damaged_aside(queue) == []
    with run_collector() as backend, run_real_collector(tmp_path, backend.url) as collector:
        send_spans(collector, 1, 10)
        wait_for("a span", lambda: backend.spans)
    assert aside.read_bytes() == damaged


def test_command_reports_what_it_set_aside(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The command prints where a damaged file is kept, and nothing for a folder that is missing."""
    queue_files.main(tmp_path / "missing")
    assert capsys.readouterr().out == ""
    replace_by_text(tmp_path / "exporter_otlp_http_loki_logs")
    queue_files.main(tmp_path)
    [aside] = tmp_path.iterdir()
    line = capsys.readouterr().out
    assert str(aside) in line
    assert "it has no valid meta page" in line


def test_files_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    """Files that are no queue files, or were set aside before, are not renamed."""
    names = {"notes.txt", "exporter_x.damaged-20260101T000000Z", "exporter_x.20260101T0000.backup"}
    for name in names:
        replace_by_text(tmp_path / name)
    assert queue_files.set_damaged_aside(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == names
