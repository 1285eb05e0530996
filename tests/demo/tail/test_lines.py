"""Tests for the lines of ``demo tail``: their columns, widths and escapes."""

import json
from dataclasses import replace

import pytest

from tests.traces import ROOT, TRACE, TRACE_START, line, span
from three_pillar_demo.query.interface import NANO
from three_pillar_demo.tail.lines import LineRenderer, json_line

STATUS = {"http.response.status_code": 502}
FAILED = span(ROOT, "", service="shopfront", name="GET /order", error=True, attributes=STATUS)


def test_a_line_without_width_is_whole() -> None:
    """In a pipe, a line has time, service, status, duration, name, reason and trace id, uncut."""
    text = LineRenderer().text(FAILED, "it raised " + "x" * 500).plain
    clock, service, status, duration, unit, rest = text.split(maxsplit=5)
    assert len(clock) == len("00:00:00.100")
    assert (service, status, duration, unit) == ("shopfront", "502", "100", "ms")
    assert rest == f"GET /order: it raised {'x' * 500}  {TRACE}"


@pytest.mark.parametrize("width", [1, 20, 60, 80, 100, 200])
def test_a_line_is_cut_to_the_terminal(width: int) -> None:
    """No line is wider than the terminal, however narrow it is and however long its text."""
    renderer = LineRenderer()
    long_name = replace(FAILED, service="s" * 90, name="n" * 300)
    wide_text = line(ROOT, "\u4e2d" * 200, service="web")
    for arrival in (FAILED, long_name, wide_text, line(ROOT, "short")):
        assert renderer.text(arrival, "reason " * 20, width).cell_len <= width


def test_the_trace_id_of_a_failure_is_never_cut() -> None:
    """On 80 columns a failed request keeps its trace id, and other lines rather keep their text."""
    renderer = LineRenderer()
    assert renderer.text(FAILED, "reason", 80).plain.endswith(TRACE)
    record = line(ROOT, "a text of forty characters, or a few more", service="shopfront")
    assert record.body in renderer.text(record, width=80).plain
    assert TRACE in renderer.text(record, width=120).plain
    assert TRACE in renderer.text(line(ROOT, "short"), width=80).plain


def test_control_characters_are_escaped() -> None:
    """Names, texts, severities and services cannot steer the terminal, in text and in JSON."""
    evil = "a\x1b[2J\x9b31m\r\nb"
    record = replace(line(ROOT, evil, service=evil), severity=evil)
    request = replace(FAILED, service=evil, name=evil, attributes={"http.status_code": evil})
    for arrival in (record, request):
        assert LineRenderer().text(arrival, evil).plain.isprintable()
        shown = json_line(arrival, evil)
        assert shown.isprintable()
        assert shown.isascii()


def test_json_has_every_field() -> None:
    """A request and a log record become objects with their times in nanoseconds and their ids."""
    request = json.loads(json_line(FAILED, "why"))
    assert request == {
        "type": "request",
        "time": "2026-01-01T00:00:00.100000+00:00",
        "time_unix_nano": TRACE_START + NANO // 10,
        "service": "shopfront",
        "name": "GET /order",
        "kind": "SERVER",
        "status": "502",
        "failed": True,
        "reason": "why",
        "duration_ms": 100.0,
        "trace_id": TRACE,
        "span_id": ROOT,
    }
    record = replace(line(ROOT, "boom", severity="error"), attributes={"order.id": 7})
    logged = json.loads(json_line(record))
    assert (logged["type"], logged["severity"], logged["failed"]) == ("log", "error", True)
    assert (logged["text"], logged["trace_id"]) == ("boom", TRACE)
    assert logged["attributes"] == {"order.id": 7}


def test_a_request_without_status_says_how_it_ended() -> None:
    """A job or a consumed message has no HTTP status: its line says ok or ERROR."""
    job = span(ROOT, "", "CONSUMER", name="orders process")
    assert " ok " in LineRenderer().text(job).plain
    assert " ERROR " in LineRenderer().text(replace(job, error=True)).plain
    grpc = span(ROOT, "", name="stock.Stock/Get", attributes={"rpc.grpc.status_code": 0})
    assert " OK " in LineRenderer().text(grpc).plain
    failed = replace(grpc, error=True, attributes={"rpc.grpc.status_code": 13})
    assert " ERROR " in LineRenderer().text(failed).plain
