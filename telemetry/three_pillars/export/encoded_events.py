"""Encode an event of structlog in protobuf, without the objects of a log record.

The result is the log record that ``StructlogProcessor`` makes of the event. An ordinary event has a
text, a level, and fields that are short texts, numbers and booleans with nothing to redact. Any
other event is not encoded here.
"""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk._logs import LogRecordLimits
from opentelemetry.trace import SpanContext

from ..redaction import may_contain_secret
from ..values import MAX_FIELDS
from .attributes import MAX_CACHED_LENGTH, AttributeEncoder
from .encoded_records import (
    ATTRIBUTES,
    OBSERVED_TIME,
    TIME,
    body_field,
    severity_fields,
    trace_fields,
)
from .protobuf import pack_fixed64

SEVERITIES = {
    "debug": severity_fields(5, b"DEBUG"),
    "info": severity_fields(9, b"INFO"),
    "warning": severity_fields(13, b"WARN"),
    "error": severity_fields(17, b"ERROR"),
    "critical": severity_fields(21, b"FATAL"),
}
"""The fields of the severity for each level of structlog."""

NO_ATTRIBUTES = frozenset({"event", "level", "timestamp"})
"""Fields of an event that are fields of the log record themselves."""

UNUSUAL_FIELDS = frozenset({"", "exc_info", "exception", "_record", "_logger", "_name"})
"""Fields of an event that ``StructlogProcessor`` treats in a way of its own.

The one with the empty name is dropped by the SDK, and counted as dropped.
"""

NANOSECONDS_IN_MICROSECOND = 1000


class EventEncoder:
    """Encodes events one by one, within the ``limits`` of log records.

    Texts that are as long as the limit, or longer than ``MAX_CACHED_LENGTH``, are not ordinary.
    """

    def __init__(self, limits: LogRecordLimits) -> None:
        length_limit = limits.max_log_record_attribute_length
        self._max_length = MAX_CACHED_LENGTH
        if length_limit is not None:
            self._max_length = min(length_limit - 1, MAX_CACHED_LENGTH)
        count_limit = limits.max_log_record_attributes
        self._max_fields = MAX_FIELDS if count_limit is None else min(count_limit, MAX_FIELDS)
        self._attributes = AttributeEncoder(ATTRIBUTES, self._is_plain)

    def encode(
        self, event: Mapping[str, Any], time_ns: int, span_context: SpanContext
    ) -> bytes | None:
        """Return ``event`` as a message ``LogRecord``, or None if it is not an ordinary one.

        ``time_ns`` is the Unix time in nanoseconds; structlog's timestamp of the same event has
        microseconds.
        """
        body = event.get("event")
        severity = SEVERITIES.get(event.get("level", ""))
        if (
            type(body) is not str
            or severity is None
            or len(event) > self._max_fields
            or not UNUSUAL_FIELDS.isdisjoint(event)
        ):
            return None
        encoded_body = self._attributes.text(body)
        fields = self._attributes.encode(
            {name: value for name, value in event.items() if name not in NO_ATTRIBUTES}
        )
        if encoded_body is None or fields is None:
            return None
        micros_ns = time_ns - time_ns % NANOSECONDS_IN_MICROSECOND
        fields += severity
        fields += trace_fields(
            span_context.trace_id, span_context.span_id, span_context.trace_flags
        )
        fields += (
            TIME,
            pack_fixed64(micros_ns),
            OBSERVED_TIME,
            pack_fixed64(time_ns),
            body_field(encoded_body),
        )
        return b"".join(fields)

    def _is_plain(self, text: str) -> bool:
        """Return whether ``text`` is short, printable ASCII that holds nothing to redact."""
        return (
            len(text) <= self._max_length
            and text.isascii()
            and text.isprintable()
            and not may_contain_secret(text)
        )
