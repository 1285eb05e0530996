"""Encode an ended span in protobuf (``opentelemetry/proto/trace/v1/trace.proto``).

An ordinary span is encoded here. One with events, links, a status description, a trace state, lists
as attributes, or a text that may have to be redacted, is encoded by OpenTelemetry's exporter.
"""

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from ..redaction import may_contain_secret
from .attributes import AttributeEncoder, dictionary_of
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
from .sanitize import is_clean, sanitized

# The fields of the message Span.
TRACE_ID = tag(1, LENGTH_DELIMITED) + varint(16)
SPAN_ID = tag(2, LENGTH_DELIMITED) + varint(8)
PARENT_SPAN_ID = tag(4, LENGTH_DELIMITED) + varint(8)
NAME = tag(5, LENGTH_DELIMITED)
KIND = tag(6, VARINT)
START_TIME = tag(7, FIXED64)
END_TIME = tag(8, FIXED64)
ATTRIBUTES = tag(9, LENGTH_DELIMITED)
STATUS = tag(15, LENGTH_DELIMITED)
FLAGS = tag(16, FIXED32)
# The field of the message Status.
STATUS_CODE = tag(3, VARINT)

HAS_IS_REMOTE = 0x100
IS_REMOTE = 0x200
"""Bits of the field ``flags`` that say whether the parent is in another process."""


class SpanEncoder:
    """Encodes spans one by one.

    ``length_limits`` are the lengths, in characters, to which the SDK truncates attribute values.
    """

    def __init__(self, length_limits: set[int]) -> None:
        self._length_limits = length_limits
        self._shortest_limit = min(length_limits, default=2**31)
        self._attributes = AttributeEncoder(ATTRIBUTES, self._is_plain)

    def encode(self, span: ReadableSpan) -> bytes:
        """Return ``span`` as a message ``Span``, redacted.

        Raises:
            Exception: OpenTelemetry's exporter cannot encode the span.
        """
        return self._encode_ordinary(span) or self._encode_any(span)

    def _is_plain(self, text: str) -> bool:
        """Return whether ``text`` is ASCII, was not truncated, and holds nothing to redact."""
        return (
            text.isascii()
            and len(text) < self._shortest_limit
            and text.isprintable()
            and not may_contain_secret(text)
        )

    def _encode_ordinary(self, span: ReadableSpan) -> bytes | None:
        """Return the message, or None if the span is not an ordinary one."""
        context = span.context
        status = span.status
        if (
            not context
            or context.trace_state
            or status.description
            or span.events
            or span.links
            or span.dropped_attributes
            or span.dropped_events
            or span.dropped_links
            or span.start_time is None
            or span.end_time is None
        ):
            return None
        name = self._attributes.text(span.name)
        attributes = self._attributes.encode(dictionary_of(span))
        if name is None or attributes is None:
            return None
        parent = span.parent
        flags = HAS_IS_REMOTE
        if parent:
            attributes.append(PARENT_SPAN_ID + parent.span_id.to_bytes(8, "big"))
            if parent.is_remote:
                flags |= IS_REMOTE
        return b"".join(
            (
                TRACE_ID,
                context.trace_id.to_bytes(16, "big"),
                SPAN_ID,
                context.span_id.to_bytes(8, "big"),
                delimited(NAME, name),
                KIND,
                varint(span.kind.value + 1),  # the enumeration of OTLP begins with "unspecified"
                START_TIME,
                pack_fixed64(span.start_time),
                END_TIME,
                pack_fixed64(span.end_time),
                delimited(STATUS, STATUS_CODE + varint(status.status_code.value)),
                FLAGS,
                pack_fixed32(flags),
                *attributes,
            )
        )

    def _encode_any(self, span: ReadableSpan) -> bytes:
        if not is_clean(span, self._length_limits):
            span = sanitized(span, self._length_limits)
        encoded = encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]
        data: bytes = encoded.SerializePartialToString()
        return data
