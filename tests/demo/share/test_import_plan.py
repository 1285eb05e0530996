"""Tests of how an import decides by how much it moves the times of a file, and where it sends."""

import asyncio
import io
import time
from typing import Any, cast

import pytest

from tests.demo.share.otlp_files import DAY_NS, NANO, Trace, json_lines, metrics, wrapped
from three_pillar_demo.local_store.otlp import checks
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import RETENTION_S, Backends, LogRecord, Span
from three_pillar_demo.share.import_command import otlp_endpoint
from three_pillar_demo.share.import_plan import shifts_of_stored, summarize, time_shift
from three_pillar_demo.share.records import Record, records_of, to_int
from three_pillar_demo.share.stored import SHIFT_ATTRIBUTE, StoredRecords
from three_pillar_demo.share.times import (
    COLLECTOR_LIMITS,
    HOUR_NS,
    LOCAL_STORE_LIMITS,
    AgeLimits,
    age_limits,
)
from three_pillar_demo.stack import state

Json = dict[str, Any]
TOLERANCE_NS = 60 * NANO
"""How long the test itself may take."""
LARGEST_TIME = str(2**63 - 1)


def shift_of(
    *objects: Json, stored: StoredRecords | None = None, limits: AgeLimits = LOCAL_STORE_LIMITS
) -> int:
    """Return by how many nanoseconds the times of a file with ``objects`` are moved."""
    summary = summarize(io.BytesIO(json_lines(*objects)))
    shifts = shifts_of_stored(summary, stored or StoredRecords())
    return time_shift(summary, shifts, limits, keep_times=False)


def old_metrics(age_ns: int) -> Json:
    """Return a metric whose only point has the age ``age_ns``."""
    content = metrics()
    scope = content["resourceMetrics"][0]["scopeMetrics"][0]
    scope["metrics"][0]["gauge"]["dataPoints"][0]["timeUnixNano"] = str(time.time_ns() - age_ns)
    return content


@pytest.mark.parametrize("mode", [*state.MODES, "compose"])
def test_an_import_is_sent_to_the_receiver_of_the_mode(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The endpoint is the recorded port of the component that receives OTLP in this mode."""
    run = state.Run(state.current_process(), 0.0, mode)
    run.ports = {"STORE_PORT": 4901, "OTEL_COLLECTOR_PORT": 4902}
    for variable in run.ports:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(state, "running", lambda: run)
    number = 4901 if mode in {"local", "view"} else 4902
    assert otlp_endpoint() == f"http://127.0.0.1:{number}"
    assert connect.running_mode() == mode
    assert age_limits(mode) is (LOCAL_STORE_LIMITS if number == 4901 else COLLECTOR_LIMITS)


def test_the_limits_are_below_those_of_the_local_store() -> None:
    """What is not moved is accepted by the local store, with time left to look at it."""
    assert checks.MAX_AGE_HOURS * 3600 == RETENTION_S
    assert LOCAL_STORE_LIMITS.records_ns == (checks.MAX_AGE_HOURS - 1) * HOUR_NS
    assert LOCAL_STORE_LIMITS.points_ns == (checks.MAX_POINT_AGE_HOURS - 1) * HOUR_NS


@pytest.mark.parametrize(
    "wrong",
    [
        {"startTimeUnixNano": LARGEST_TIME, "endTimeUnixNano": LARGEST_TIME},
        {"endTimeUnixNano": LARGEST_TIME},
        {"startTimeUnixNano": "1"},
        {"startTimeUnixNano": str(int(time.time()))},
        {"startTimeUnixNano": "9" * 5000},
        {"startTimeUnixNano": -1},
    ],
    ids=["both in 2262", "end in 2262", "1970", "seconds", "5,000 digits", "negative"],
)
def test_one_wrong_time_moves_nothing(wrong: Json) -> None:
    """A time that no clock has shown does not move the other records of its file."""
    assert shift_of(Trace().spans(), Trace().spans(**wrong), Trace().logs()) == 0


def test_one_wrong_time_does_not_keep_an_old_file_from_being_moved() -> None:
    """An old file is moved as if the wrong time were not in it."""
    old = Trace(age_ns=9 * DAY_NS)
    wrong = {"startTimeUnixNano": LARGEST_TIME, "endTimeUnixNano": LARGEST_TIME}
    shift_ns = shift_of(old.spans(), Trace().spans(**wrong))
    # The end of a span is one second after its start.
    assert 0 <= shift_ns - (9 * DAY_NS - NANO) < TOLERANCE_NS


@pytest.mark.parametrize(
    "start_ns",
    [5 * 3600 * NANO, time.time_ns() + 300 * DAY_NS],
    ids=["after 1970", "in 300 days"],
)
def test_a_file_of_a_clock_that_was_never_set_is_moved_to_now(start_ns: int) -> None:
    """If all times are implausible, they are moved together: the newest becomes now."""
    trace = Trace()
    trace.time = start_ns
    newest = start_ns + NANO
    assert abs(shift_of(trace.spans(), trace.logs()) - (time.time_ns() - newest)) < TOLERANCE_NS


def test_the_end_of_a_span_is_not_moved_into_the_future() -> None:
    """The newest time of a file is the end of its last span, not the start."""
    trace = Trace(age_ns=9 * DAY_NS)
    end = trace.time + 2 * HOUR_NS
    moved_end = end + shift_of(trace.spans(endTimeUnixNano=str(end)))
    assert abs(moved_end - time.time_ns()) < TOLERANCE_NS


def test_a_record_without_a_time_decides_nothing() -> None:
    """A stored record whose time the store has set does not say how the file was moved."""
    trace = Trace()
    span = trace.spans(startTimeUnixNano="0")
    stored = StoredRecords({(trace.trace_id, trace.span_id): time.time_ns()})
    assert shift_of(span, trace.logs(), stored=stored) == 0


def test_a_stored_span_decides_before_a_log_record() -> None:
    """The Collector may have replaced the time of a log record, so the span says how to move."""
    trace = Trace()
    span_key = (trace.trace_id, trace.span_id)
    stored = StoredRecords(log_shifts={trace.trace_id: HOUR_NS})
    stored.bodies_left[*span_key, trace.time + 5 + HOUR_NS][trace.body] += 1
    assert shift_of(trace.logs(), trace.spans(), stored=stored) == HOUR_NS
    stored.span_times[span_key] = trace.time + 77
    assert shift_of(trace.logs(), trace.spans(), stored=stored) == 77


@pytest.mark.parametrize("value", ["x", [], "inf", "nan", None])
def test_a_foreign_shift_attribute_is_ignored(value: Any) -> None:  # noqa: ANN401  (any attribute value)
    """An attribute of the importer's name that is no number of seconds changes nothing."""
    record = LogRecord(1, "shopfront", "INFO", "text", {}, resource={SHIFT_ATTRIBUTE: value})
    backends = StoredLog(record)
    stored = asyncio.run(StoredRecords.query(cast("Backends", backends), ["a" * 32]))
    assert stored.log_shifts == {}


class StoredLog:
    """Backends in which every trace has one log record and no span."""

    def __init__(self, record: LogRecord) -> None:
        self.record = record

    async def trace(self, _trace_id: str) -> list[Span]:
        """Return no span."""
        return []

    async def trace_logs(self, _trace_id: str, _start: float, _end: float) -> list[LogRecord]:
        """Return the record."""
        return [self.record]


def test_the_time_that_the_collector_has_replaced_is_known() -> None:
    """A log record is found by the time that was sent, which the Collector keeps beside its own."""
    trace = Trace()
    [record] = records_of(trace.logs())
    assert isinstance(record, Record)
    fields = {"span_id": trace.span_id, "collector_original_time": str(record.time)}
    stored_log = LogRecord(record.time + HOUR_NS, "shopfront", "INFO", "changed", fields)
    backends = cast("Backends", StoredLog(stored_log))
    stored = asyncio.run(StoredRecords.query(backends, [trace.trace_id]))
    assert stored.take(record, 0)
    assert not stored.take(record, 0)


@pytest.mark.parametrize(
    ("limits", "age_h", "is_moved"),
    [
        (LOCAL_STORE_LIMITS, 46, False),
        (LOCAL_STORE_LIMITS, 47.5, True),
        (COLLECTOR_LIMITS, 22, False),
        (COLLECTOR_LIMITS, 23.5, True),
    ],
)
@pytest.mark.parametrize("make", [Trace.spans, Trace.logs])
def test_what_the_receiver_would_change_or_refuse_is_moved(
    make: Any,  # noqa: ANN401  (a method of Trace)
    limits: AgeLimits,
    age_h: float,
    *,
    is_moved: bool,
) -> None:
    """Records are moved from the age on from which the receiver does not keep them as they are."""
    trace = Trace(age_ns=int(age_h * HOUR_NS))
    assert bool(shift_of(make(trace), limits=limits)) == is_moved


@pytest.mark.parametrize(
    ("limits", "age_h", "is_moved"),
    [(LOCAL_STORE_LIMITS, 4, False), (LOCAL_STORE_LIMITS, 8, True), (COLLECTOR_LIMITS, 8, False)],
)
def test_metrics_are_moved_too(limits: AgeLimits, age_h: int, *, is_moved: bool) -> None:
    """A file of metrics alone is moved if the receiver would refuse its points."""
    assert bool(shift_of(old_metrics(age_h * HOUR_NS), limits=limits)) == is_moved


def test_what_does_not_help_is_not_done() -> None:
    """If the newest record is of now, an old one stays too old, and nothing is moved."""
    assert shift_of(Trace().logs(), Trace(age_ns=9 * DAY_NS).logs()) == 0


@pytest.mark.parametrize("trace_id", ["xyz", "0" * 32, "", None, 7, "ab" * 15, "ä" * 32])
def test_a_trace_with_an_invalid_id_is_not_looked_up(trace_id: Any) -> None:  # noqa: ANN401  (any JSON value)
    """A backend is never asked for an id that it would refuse, which would end the import."""
    good = Trace()
    bad = Trace()
    bad.trace_id = trace_id
    summary = summarize(io.BytesIO(json_lines(bad.spans(), good.spans(), good.logs())))
    assert list(summary.first_records) == [good.trace_id]
    assert summary.counts == {"traces": 2, "logs": 1}


@pytest.mark.parametrize("value", ["9" * 21, "9" * 5000, "-1", "1.5", "", None, True, [], "\uff11"])
def test_what_is_no_integer_of_64_bits_is_0(value: Any) -> None:  # noqa: ANN401  (any JSON value)
    """A value that is no integer of OTLP JSON, and one that is too long, count as 0."""
    assert to_int(value) == 0
    point = {"timeUnixNano": value}
    contents: list[Any] = [[point], [None], None, {}]
    for points in contents:
        content = wrapped("Metrics", "metrics", [{"name": "load", "sum": {"dataPoints": points}}])
        assert shift_of(content) == 0
