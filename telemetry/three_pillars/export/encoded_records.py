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
        self._attributes = AttributeEncoder(_is_valid)

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
        fields = self._attributes.encode(dictionary_of(log_record), ATTRIBUTES)
        if fields is None or severity_text is None:
            return None
        if log_record.trace_id:
            fields.append(TRACE_ID + log_record.trace_id.to_bytes(16, "big"))
        if log_record.span_id:
            fields.append(SPAN_ID + log_record.span_id.to_bytes(8, "big"))
        if log_record.timestamp:
            fields.append(TIME + pack_fixed64(log_record.timestamp))
        return b"".join(
            (
                OBSERVED_TIME,
                pack_fixed64(observed),
                SEVERITY_NUMBER,
                varint(severity.value),
                delimited(SEVERITY_TEXT, severity_text),
                delimited(BODY, delimited(STRING_VALUE, body.encode())),
                FLAGS,
                pack_fixed32(int(log_record.trace_flags or 0)),
                *fields,
            )
        )


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
