"""Tests of ``demo import`` with a local store in a process of its own."""

import asyncio
import base64
import io
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.local_store.stores import StoreProcess
from tests.demo.share.otlp_files import (
    DAY_NS,
    NANO,
    Trace,
    framed_zstd,
    gzipped,
    json_lines,
    metrics,
    one_object,
    pretty,
    wrapped,
    zstd,
)
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.share import import_command
from three_pillar_demo.share.import_command import import_file
from three_pillar_demo.share.stored import SHIFT_ATTRIBUTE

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """Yield a running store, which all tests of this module share."""
    process = StoreProcess(tmp_path_factory.mktemp("import") / "data")
    process.start()
    yield process
    process.stop(signal.SIGKILL)


@pytest.fixture(autouse=True)
def _use_the_store(store: StoreProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "create_backends", lambda: LocalBackends(store.path, store.url))
    monkeypatch.setattr(import_command, "otlp_endpoint", lambda: store.url)


def run_import(content: bytes, path: Path, **options: Any) -> int:  # noqa: ANN401  (those of import_file)
    """Write ``content`` to ``path`` and import it; return the exit code."""
    path.write_bytes(content)
    return asyncio.run(import_file(str(path), **options))


def stored(trace_id: str) -> tuple[list[Span], list[LogRecord]]:
    """Return the stored spans and log records of a trace."""

    async def query() -> tuple[list[Span], list[LogRecord]]:
        async with connect.create_backends() as backends:
            now = time.time()
            logs = await backends.trace_logs(trace_id, now - 48 * 3600, now + 3600)
            return await backends.trace(trace_id), logs

    return asyncio.run(query())


@pytest.mark.parametrize("write", [json_lines, pretty, one_object, gzipped, zstd, framed_zstd])
def test_every_form_of_file_is_imported(write: Any, tmp_path: Path, capsys: Output) -> None:  # noqa: ANN401  (a function of bytes)
    """Spans, log records and metrics of each form are stored, and the next command is printed."""
    trace = Trace()
    assert run_import(write(trace.spans(), trace.logs(), metrics()), tmp_path / "file") == 0
    [span], [record] = stored(trace.trace_id)
    assert (span.service, span.start, span.end) == ("shopfront", trace.time, trace.time + NANO)
    assert (record.body, record.time) == (trace.body, trace.time + 5)
    out = capsys.readouterr().out
    assert "Imported 1 span and 1 log record and 1 metric of shopfront." in out
    assert f"demo follow {trace.trace_id}" in out
    assert "moved" not in out


def test_stdin_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name - stands for stdin, which cannot be read twice."""
    trace = Trace()

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    stdin = io.TextIOWrapper(Pipe(json_lines(trace.spans())))
    monkeypatch.setattr("sys.stdin", stdin)
    assert asyncio.run(import_file("-")) == 0
    assert len(stored(trace.trace_id)[0]) == 1


def test_an_old_trace_is_moved_to_now(tmp_path: Path, capsys: Output) -> None:
    """Times that the store would refuse are moved together, the newest to now, and marked."""
    trace = Trace(age_ns=9 * DAY_NS)
    before = time.time_ns()
    assert run_import(json_lines(trace.spans(), trace.logs()), tmp_path / "file") == 0
    after = time.time_ns()
    [span], [record] = stored(trace.trace_id)
    assert before <= span.end <= after, "the end of the span is the newest"
    assert record.time - span.start == 5
    assert span.end - span.start == NANO
    assert span.events[0].time - span.start == 7
    shift_s = (span.start - trace.time) / NANO
    assert span.resource[SHIFT_ATTRIBUTE] == pytest.approx(shift_s)
    assert record.resource[SHIFT_ATTRIBUTE] == pytest.approx(shift_s)
    assert "All times were moved by +9 days" in capsys.readouterr().out


def test_a_trace_of_the_future_is_moved_to_now(tmp_path: Path) -> None:
    """A file of a machine whose clock is hours ahead is moved back."""
    trace = Trace(age_ns=-5 * 3600 * NANO)
    assert run_import(json_lines(trace.spans()), tmp_path / "file") == 0
    [span], _ = stored(trace.trace_id)
    assert span.start <= time.time_ns()


@pytest.mark.parametrize("age_days", [0, 9])
def test_importing_twice_stores_nothing_twice(
    age_days: int, tmp_path: Path, capsys: Output
) -> None:
    """A second import leaves out what is stored, and says so, also after times were moved."""
    trace = Trace(age_ns=age_days * DAY_NS)
    path = tmp_path / "file"
    assert run_import(json_lines(trace.spans(), trace.logs()), path) == 0
    first = stored(trace.trace_id)
    capsys.readouterr()
    # Another order of the lines makes other requests, which the store could not recognise.
    assert run_import(pretty(trace.logs(), trace.spans()), path) == 0
    assert stored(trace.trace_id) == first
    out = capsys.readouterr().out
    assert "Stored already, and left out: 1 span and 1 log record." in out
    assert f"demo follow {trace.trace_id}" in out


def test_the_rest_of_a_trace_joins_what_is_stored(tmp_path: Path) -> None:
    """A second file of a trace that was moved is moved by the same amount."""
    trace = Trace(age_ns=9 * DAY_NS)
    run_import(json_lines(trace.spans()), tmp_path / "file")
    run_import(json_lines(trace.spans(), trace.logs()), tmp_path / "file")
    [span], [record] = stored(trace.trace_id)
    assert record.time - span.start == 5


BODIES: dict[str, dict[str, Any]] = {
    "redacted": {"stringValue": "login with password=hunter2hunter2 of card 4111111111111111"},
    "structured": {"kvlistValue": {"values": [{"key": "order", "value": {"intValue": "42"}}]}},
    "empty": {},
    "long": {"stringValue": "order " * 100_000},
}


@pytest.mark.parametrize("age_days", [0, 9])
@pytest.mark.parametrize("name", BODIES)
def test_a_log_record_that_the_store_has_changed_is_not_stored_twice(
    name: str, age_days: int, tmp_path: Path, capsys: Output
) -> None:
    """A record is found again by its time where the store keeps another text than the file has."""
    trace = Trace(age_ns=age_days * DAY_NS)
    logs = trace.logs()
    [record] = logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    record["body"] = BODIES[name]
    content = json_lines(trace.spans(), logs)
    for _ in range(2):
        assert run_import(content, tmp_path / "file") == 0
    [stored_record] = stored(trace.trace_id)[1]
    assert stored_record.body != BODIES[name].get("stringValue")
    assert "left out: 1 span and 1 log record." in capsys.readouterr().out


def test_a_log_record_without_a_time_is_not_stored_twice(tmp_path: Path) -> None:
    """A record that got its time from the store is found again by what it says."""
    trace = Trace()
    logs = trace.logs()
    del logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["timeUnixNano"]
    for _ in range(2):
        assert run_import(json_lines(trace.spans(), logs), tmp_path / "file") == 0
    assert len(stored(trace.trace_id)[1]) == 1


@pytest.mark.parametrize("age_days", [0, 9, 3000])
def test_log_records_alone_are_found_again(age_days: int, tmp_path: Path) -> None:
    """Without a span, stored records are found by their times and by how these were moved."""
    trace = Trace(age_ns=age_days * DAY_NS, body="password=hunter2hunter2")
    first = trace.logs()
    trace.body = "order 42 requested"
    second = trace.logs()
    for _ in range(2):
        assert run_import(json_lines(first, second), tmp_path / "file") == 0
    assert len(stored(trace.trace_id)[1]) == 2


def test_traces_that_were_moved_by_different_amounts_are_found_again(tmp_path: Path) -> None:
    """Of a file whose traces were imported one by one before, nothing is stored twice."""
    traces = [Trace(age_ns=9 * DAY_NS - minutes * 60 * NANO) for minutes in (0, 20)]
    for trace in traces:
        run_import(json_lines(trace.spans(), trace.logs()), tmp_path / "file")
    both = [content for trace in traces for content in (trace.spans(), trace.logs())]
    assert run_import(json_lines(*both), tmp_path / "file") == 0
    assert [len(stored(trace.trace_id)[1]) for trace in traces] == [1, 1]


def test_the_order_of_records_that_say_the_same_does_not_matter(tmp_path: Path) -> None:
    """A record is left out only for the stored one of its own time."""
    trace = Trace()
    first = trace.logs()
    trace.time += 1000
    second = trace.logs()
    assert run_import(json_lines(first), tmp_path / "file") == 0
    assert run_import(json_lines(second, first), tmp_path / "file") == 0
    times = [record.time for record in stored(trace.trace_id)[1]]
    assert times == [trace.time - 1000 + 5, trace.time + 5]


def test_equal_log_records_are_all_kept(tmp_path: Path) -> None:
    """Records that say the same at different times are different records, also the second time."""
    trace = Trace()
    logs = trace.logs()
    trace.time += 1000
    content = json_lines(logs, trace.logs())
    for _ in range(2):
        assert run_import(content, tmp_path / "file") == 0
    assert len(stored(trace.trace_id)[1]) == 2


def test_a_record_that_equals_a_stored_one_is_kept(tmp_path: Path) -> None:
    """Of two records that say the same, only as many are left out as are stored."""
    trace = Trace()
    first = trace.logs()
    trace.time += 1000
    assert run_import(json_lines(first), tmp_path / "file") == 0
    assert run_import(json_lines(first, trace.logs()), tmp_path / "file") == 0
    assert len(stored(trace.trace_id)[1]) == 2


def test_kept_times_are_refused_by_name(tmp_path: Path, capsys: Output) -> None:
    """With --keep-times nothing is moved; what the store refuses is counted with its reason."""
    trace = Trace()
    ahead = Trace(age_ns=-3 * DAY_NS)
    content = json_lines(trace.spans(), ahead.spans())
    assert run_import(content, tmp_path / "file", keep_times=True) == 1
    [span], _ = stored(trace.trace_id)
    assert span.start == trace.time
    assert stored(ahead.trace_id) == ([], [])
    captured = capsys.readouterr()
    assert "Imported 1 span of shopfront." in captured.out
    assert "rejected: 1, 1 x span: start_time_unix_nano over 24 h in the future" in captured.err


def test_one_bad_part_costs_no_other(tmp_path: Path, capsys: Output) -> None:
    """Lines and records that are none are named with their places; all others are imported."""
    good = [Trace() for _ in range(3)]
    content = (
        json_lines(good[0].spans())
        + b'{"resourceSpans":[{"resource":\n'
        + json_lines({"data": []}, good[1].spans(), wrapped("Spans", "spans", ["none"]))
        + json_lines(Trace().spans(traceId="xyz"), good[2].spans())
    )
    assert run_import(content, tmp_path / "file") == 1
    for trace in good:
        assert len(stored(trace.trace_id)[0]) == 1
    err = capsys.readouterr().err
    assert "not read: line 2: not valid JSON" in err
    assert "not read: line 3: neither resourceSpans nor" in err
    assert "not read: line 5: a span is no object" in err
    assert "rejected: 1, " in err


def test_a_record_that_the_store_cannot_parse_costs_no_other(
    tmp_path: Path, capsys: Output
) -> None:
    """A record that the store cannot parse is named with the reason, and no other is left out."""
    traces = [Trace() for _ in range(9)]
    objects = [trace.spans() for trace in traces]
    objects[4] = traces[4].spans(attributes={"no": "list"})
    assert run_import(json_lines(*objects), tmp_path / "file") == 1
    counts = [len(stored(trace.trace_id)[0]) for trace in traces]
    assert counts == [1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert "rejected: 1, 1 x span: attributes is not a list" in capsys.readouterr().err


def test_a_large_file_is_sent_in_parts(tmp_path: Path, capsys: Output) -> None:
    """A file of more than a request may have is complete, although the store limits requests."""
    trace = Trace()
    spans = [
        trace.spans(spanId=f"{number:016x}", name="x" * 1_000)
        for number in range(1, 5_001)  # over 6 MiB
    ]
    assert run_import(json_lines(*spans), tmp_path / "file") == 0
    assert len(stored(trace.trace_id)[0]) == 5_000
    assert "Imported 5,000 spans" in capsys.readouterr().out


def test_an_answer_of_tempo_is_imported(tmp_path: Path) -> None:
    """Tempo's JSON has base64 ids, names for kinds, and ``batches``; all of it is understood."""
    trace = Trace()
    encoded = base64.b64encode(bytes.fromhex(trace.trace_id)).decode()
    span_id = base64.b64encode(bytes.fromhex(trace.span_id)).decode()
    spans = trace.spans(traceId=encoded, spanId=span_id, kind="SPAN_KIND_SERVER")
    answer = json.dumps({"batches": spans["resourceSpans"]}).encode()
    assert run_import(answer, tmp_path / "file") == 0
    [span], _ = stored(trace.trace_id)
    assert (span.span_id, span.kind) == (trace.span_id, "SERVER")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "It must be OTLP JSON"),
        (b"hello\n", "line 1: not valid JSON"),
        (b'{"data": []}', "neither resourceSpans nor"),
        (b"\x00\x00\x00\x05\x0a\x03abc", "binary protobuf"),
    ],
)
def test_a_file_without_telemetry_is_one_line(
    content: bytes, reason: str, tmp_path: Path, capsys: Output
) -> None:
    """A file without any telemetry ends with 1 and one line that says why."""
    assert run_import(content, tmp_path / "file") == 1
    captured = capsys.readouterr()
    assert not captured.out
    assert "no telemetry in it" in captured.err
    assert reason in captured.err


def test_a_file_of_which_nothing_is_stored_is_not_called_imported(
    tmp_path: Path, capsys: Output
) -> None:
    """If every record is rejected, the output has the reason and no line about an import."""
    spans = Trace().spans(startTimeUnixNano=str(2**63 - 1))
    assert run_import(json_lines(spans), tmp_path / "file", keep_times=True) == 1
    captured = capsys.readouterr()
    assert "Imported" not in captured.out
    assert "rejected: 1, 1 x span" in captured.err


def test_a_file_that_cannot_be_opened_ends_with_2(tmp_path: Path, capsys: Output) -> None:
    """A missing file and a folder are named in one line."""
    for path in (tmp_path / "missing", tmp_path):
        assert asyncio.run(import_file(str(path))) == 2
        assert str(path) in capsys.readouterr().err


def test_an_endpoint_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """If nothing listens, the import ends with 1 and says how much is stored."""
    monkeypatch.setattr(import_command, "otlp_endpoint", lambda: "http://127.0.0.1:9")
    assert run_import(json_lines(Trace().spans()), tmp_path / "file") == 1
    err = capsys.readouterr().err
    assert "stopped: http://127.0.0.1:9 does not answer" in err
    assert "Stored so far: nothing" in err


def test_names_in_a_file_cannot_steer_the_terminal(tmp_path: Path, capsys: Output) -> None:
    """Control characters of a file are escaped in everything that is printed."""
    evil = "\x1b[2J"
    service = {"key": "service.name", "value": {"stringValue": evil}}
    spans = Trace().spans()
    spans["resourceSpans"][0]["resource"]["attributes"] = [service]
    run_import(json_lines(spans) + f"{evil}\n".encode(), tmp_path / "file")
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
