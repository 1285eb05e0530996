"""Decodes the log records of an OTLP export request into rows of the table ``log``."""

import time
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from three_pillar_demo.local_store.otlp.batch import Batch, Row
from three_pillar_demo.local_store.otlp.checks import (
    MAX_INTEGER,
    are_valid_ids,
    source_of,
    time_problem,
)
from three_pillar_demo.local_store.values import (
    counted_attributes,
    json_value,
    redacted_text,
    severity_name,
    to_json,
    truncate,
)


def decode(request: Any, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    """Decode an ``ExportLogsServiceRequest`` into ``batch``.

    Each valid log record is added to ``batch``; each invalid one is counted there as rejected.
    """
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            source = source_of(resource_logs.resource, scope_logs.scope)
            for record in scope_logs.log_records:
                timestamp = _timestamp(record)
                problem = time_problem("time_unix_nano", timestamp) or batch.limit_problem()
                if problem:
                    batch.rejected[f"log record: {problem}"] += 1
                else:
                    batch.log_records.append((source, _row(record, timestamp)))


def _timestamp(record: Any) -> int:  # noqa: ANN401  (generated code)
    """Return the record's time in nanoseconds since the epoch.

    If the record has no time, return its observed time. If it has neither, return the current time.
    """
    return record.time_unix_nano or record.observed_time_unix_nano or time.time_ns()


def _row(record: Any, timestamp: int) -> Row:  # noqa: ANN401  (generated code)
    """Return a record as a row of the table ``log``.

    If the trace id or the span id is invalid, both ids become None. The record itself is kept,
    because a log record is also useful without a trace.
    """
    has_trace = are_valid_ids(record.trace_id, record.span_id)
    attributes, dropped_attributes = counted_attributes(record)
    return (
        timestamp,
        record.trace_id if has_trace else None,
        record.span_id if has_trace else None,
        record.severity_number,
        truncate(record.severity_text) or severity_name(record.severity_number),
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
