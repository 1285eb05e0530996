"""Decompresses, parses and decodes the body of an OTLP export request into a ``Batch``."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as log_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metric_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service

from three_pillar_demo.local_store.compression import decompress
from three_pillar_demo.local_store.otlp import logs, metrics, traces
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.request_error import RequestError

DIGEST_BYTES = 16
MAX_PARSER_TEXT = 200
"""The maximum length, in characters, of the parser's message that an error response quotes."""
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
ID_FIELDS = {"trace_id", "span_id", "parent_span_id"}
ATTRIBUTE_TYPES = {"AnyValue", "KeyValue"}


@dataclass(frozen=True)
class Signal:
    """The protobuf types and the decoder of one signal: of traces, logs or metrics.

    ``rejected_field`` names the field of the response's ``partial_success`` that contains the
    number of rejected records.
    """

    request_type: type[Message]
    response_type: type[Message]
    rejected_field: str
    decode: Callable[[Any, Batch], None]


SIGNALS = {
    "traces": Signal(
        trace_service.ExportTraceServiceRequest,
        trace_service.ExportTraceServiceResponse,
        "rejected_spans",
        traces.decode,
    ),
    "logs": Signal(
        log_service.ExportLogsServiceRequest,
        log_service.ExportLogsServiceResponse,
        "rejected_log_records",
        logs.decode,
    ),
    "metrics": Signal(
        metric_service.ExportMetricsServiceRequest,
        metric_service.ExportMetricsServiceResponse,
        "rejected_data_points",
        metrics.decode,
    ),
}


def decode_request(signal_name: str, body: bytes, encoding: str, media_type: str) -> Batch:
    """Return the decoded ``body`` of an export request.

    ``signal_name`` is a key of ``SIGNALS``, ``encoding`` the value of ``Content-Encoding``, and
    ``media_type`` either ``PROTOBUF`` or ``JSON``.

    Raises:
        RequestError: The body cannot be decompressed or parsed.
    """
    signal = SIGNALS[signal_name]
    content = decompress(body, encoding)
    message = signal.request_type()
    try:
        if media_type == JSON:
            _parse_json(content, message)
        else:
            message.ParseFromString(content)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
        message_type = signal.request_type.DESCRIPTOR.name
        reason = f"request body is not a valid {message_type}: {str(error)[:MAX_PARSER_TEXT]}"
        raise RequestError(400, reason) from error
    digest = hashlib.blake2b(signal_name.encode() + content, digest_size=DIGEST_BYTES).digest()
    batch = Batch(digest, len(content))
    signal.decode(message, batch)
    return batch


def _parse_json(content: bytes, message: Message) -> None:
    # The parser takes an empty list for an empty object.
    if not content.lstrip().startswith(b"{"):
        raise RequestError(400, "request body is not a JSON object")
    json_format.Parse(content, message, ignore_unknown_fields=True)
    _restore_hex_ids(message)


def _restore_hex_ids(message: Message) -> None:
    """Correct the trace ids and span ids in a message that was parsed from JSON.

    OTLP writes ids as hex digits, but protobuf's JSON parser expects base64. So the parser has
    decoded the hex digits as base64. This function encodes the result in base64, which gives the
    hex digits back, and decodes the digits as hex.
    """
    for field, value in message.ListFields():
        if field.name in ID_FIELDS:
            setattr(message, field.name, bytes.fromhex(base64.b64encode(value).decode()))
        elif field.message_type and field.message_type.name not in ATTRIBUTE_TYPES:
            for child in value if isinstance(value, Sequence) else [value]:
                _restore_hex_ids(child)
