"""Decodes the log records of an OTLP export request into rows of the table ``log``."""

import time
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from three_pillar_demo.local_store.otlp.batch import Batch, Row
from three_pillar_demo.local_store.otlp.checks import (
    MAX_INTEGER,
    is_valid_span_id,
    is_valid_trace_id,
    source_of,
    time_problem,
)
from three_pillar_demo.local_store.values import (
    counted_attributes,
    json_value,
    redacted_text,
    severity_name,
    to_json,
)

NO_TIME = ""
MILLISECOND_NS = 10**6


def decode(request: Any, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    """Decode an ``ExportLogsServiceRequest`` into ``batch``.

    Each valid log record is added to ``batch``; each invalid one is counted there as rejected.
    """
    have_exact_times = False
    have_times = True
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            source = source_of(resource_logs.resource, scope_logs.scope, batch)
            for record in scope_logs.log_records:
                field, timestamp = _timestamp(record)
                problem = time_problem(field, timestamp) or batch.limit_problem()
                if problem:
                    batch.reject(f"log record: {problem}")
                    continue
                batch.log_records.append((source, _row(record, timestamp, batch)))
                have_times = have_times and field != NO_TIME
                have_exact_times = have_exact_times or _has_exact_time(record)
    if batch.log_records:
        batch.is_recognisable = have_times and have_exact_times


def _has_exact_time(record: Any) -> bool:  # noqa: ANN401  (generated code)
    """Return whether a time of the record is exact to more than a millisecond.

    A sender with an exact clock does not send two different records with equal times; a sender
    with a clock in milliseconds does.
    """
    times = (record.time_unix_nano, record.observed_time_unix_nano)
    return any(timestamp % MILLISECOND_NS for timestamp in times)


def _timestamp(record: Any) -> tuple[str, int]:  # noqa: ANN401  (generated code)
    """Return the name of the field with the record's time, and the time in ns since the epoch.

    If the record has no time, its observed time counts. If it has neither, the name is ``NO_TIME``,
    and the time is the current time.
    """
    if record.time_unix_nano:
        return "time_unix_nano", record.time_unix_nano
    if record.observed_time_unix_nano:
        return "observed_time_unix_nano", record.observed_time_unix_nano
    return NO_TIME, time.time_ns()


def _row(record: Any, timestamp: int, batch: Batch) -> Row:  # noqa: ANN401  (generated code)
    """Return a record as a row of the table ``log``; count in ``batch`` what is left out of it.

    An invalid id becomes None, and the span id also if the trace id is invalid. The record itself
    is kept, because a log record is also useful without a trace.
    """
    trace_id = record.trace_id if is_valid_trace_id(record.trace_id) else None
    has_span = trace_id is not None and is_valid_span_id(record.span_id)
    attributes, dropped_attributes = counted_attributes(record, batch)
    return (
        timestamp,
        trace_id,
        record.span_id if has_span else None,
        record.severity_number,
        redacted_text(record.severity_text) or severity_name(record.severity_number),
        _body(record.body),
        to_json(attributes),
        min(record.observed_time_unix_nano, MAX_INTEGER),
        redacted_text(record.event_name),
        record.flags,
        dropped_attributes,
    )


def _body(body: AnyValue) -> str:
    """Return a body as redacted text: a structured body as JSON, an absent one as an empty text."""
    value = json_value(body)
    if value is None:
        return ""
    return redacted_text(value if isinstance(value, str) else to_json(value))
