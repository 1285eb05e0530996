"""Encode a log record in protobuf (``opentelemetry/proto/logs/v1/logs.proto``).

An ordinary record is encoded here. One with nested attributes, attributes that were dropped, or a
body that is no text, is encoded by OpenTelemetry's exporter.
"""

import re

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource

from .attributes import STRING_VALUE, AttributeEncoder, dictionary_of
from .protobuf import (
    FIXED32,
    FIXED64,
    LENGTH_DELIMITED,
    VARINT,
    delimited,
    pack_fixed32,
    pack_fixed64,
    tag,
    varint,
)

# The fields of the message LogRecord.
TIME = tag(1, FIXED64)
SEVERITY_NUMBER = tag(2, VARINT)
SEVERITY_TEXT = tag(3, LENGTH_DELIMITED)
BODY = tag(5, LENGTH_DELIMITED)
ATTRIBUTES = tag(6, LENGTH_DELIMITED)
FLAGS = tag(8, FIXED32)
TRACE_ID = tag(9, LENGTH_DELIMITED) + varint(16)
SPAN_ID = tag(10, LENGTH_DELIMITED) + varint(8)
OBSERVED_TIME = tag(11, FIXED64)

SURROGATE = re.compile("[\ud800-\udfff]")
"""A character that has no encoding in UTF-8."""


class RecordEncoder:
    """Encodes log records one by one. They have been redacted before."""

    def __init__(self) -> None:
        self._attributes = AttributeEncoder(ATTRIBUTES, _is_valid)

    def encode(self, record: ReadWriteLogRecord) -> bytes:
        """Return ``record`` as a message ``LogRecord``.

        Raises:
            Exception: OpenTelemetry's exporter cannot encode the record.
        """
        return self._encode_ordinary(record) or _encode_any(record)

    def _encode_ordinary(self, record: ReadWriteLogRecord) -> bytes | None:
        """Return the message, or None if the record is not an ordinary one."""
        log_record = record.log_record
        body = log_record.body
        severity = log_record.severity_number
        observed = log_record.observed_timestamp
        if (
            type(body) is not str
            or not _is_valid(body)
            or severity is None
            or observed is None
            or log_record.event_name
            or record.dropped_attributes
        ):
            return None
        severity_text = self._attributes.text(log_record.severity_text or "")
        fields = self._attributes.encode(dictionary_of(log_record))
        if fields is None or severity_text is None:
            return None
        if log_record.timestamp:
            fields.append(TIME + pack_fixed64(log_record.timestamp))
        fields += trace_fields(
            log_record.trace_id or 0, log_record.span_id or 0, log_record.trace_flags or 0
        )
        fields += severity_fields(severity.value, severity_text)
        fields += (OBSERVED_TIME, pack_fixed64(observed), body_field(body.encode()))
        return b"".join(fields)


def trace_fields(trace_id: int, span_id: int, flags: int) -> list[bytes]:
    """Return the fields that name the span of a record; an id of 0 stands for none."""
    fields = [FLAGS + pack_fixed32(flags)]
    if trace_id:
        fields.append(TRACE_ID + trace_id.to_bytes(16, "big"))
    if span_id:
        fields.append(SPAN_ID + span_id.to_bytes(8, "big"))
    return fields


def severity_fields(number: int, text: bytes) -> list[bytes]:
    """Return the fields of the severity: its number in OTLP and its name."""
    return [SEVERITY_NUMBER, varint(number), delimited(SEVERITY_TEXT, text)]


def body_field(text: bytes) -> bytes:
    """Return the field of a body that is a text, given in UTF-8."""
    return delimited(BODY, delimited(STRING_VALUE, text))


def _is_valid(text: str) -> bool:
    return text.isascii() or not SURROGATE.search(text)


def _encode_any(record: ReadWriteLogRecord) -> bytes:
    readable = ReadableLogRecord(
        log_record=record.log_record,
        resource=record.resource or Resource.get_empty(),
        instrumentation_scope=record.instrumentation_scope,
        limits=record.limits,
    )
    encoded = encode_logs([readable]).resource_logs[0].scope_logs[0].log_records[0]
    data: bytes = encoded.SerializeToString()
    return data
