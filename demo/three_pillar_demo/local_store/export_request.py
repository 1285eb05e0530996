"""Decompresses, parses and decodes the body of an OTLP export request into a ``Batch``."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as log_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metric_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service

from three_pillar_demo.local_store.compression import decompress
from three_pillar_demo.local_store.otlp import json_request, logs, metrics, traces
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.otlp.wire import PARSER_ERRORS, Mender
from three_pillar_demo.local_store.request_error import RequestError

DIGEST_BYTES = 16
MAX_PARSER_TEXT = 200
"""The maximum length, in characters, of the parser's message that an error response quotes."""
PROTOBUF = "application/x-protobuf"
JSON = "application/json"


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

    An invalid record, or an invalid part of one, is left out and counted in the batch.

    Raises:
        RequestError: The body cannot be decompressed, or is no request of this type at all.
    """
    signal = SIGNALS[signal_name]
    content = decompress(body, encoding)
    message = signal.request_type()
    digest = hashlib.blake2b(signal_name.encode() + content, digest_size=DIGEST_BYTES).digest()
    batch = Batch(digest, len(content))
    try:
        if media_type == JSON:
            json_request.parse(content, message, batch)
        else:
            _parse_protobuf(content, message, batch)
    except (DecodeError, ValueError, RecursionError) as error:
        message_type = signal.request_type.DESCRIPTOR.name
        reason = f"request body is not a valid {message_type}: {str(error)[:MAX_PARSER_TEXT]}"
        raise RequestError(400, reason) from error
    signal.decode(message, batch)
    return batch


def _parse_protobuf(content: bytes, message: Message, batch: Batch) -> None:
    """Parse a protobuf request; leave out what is invalid, and count it in ``batch``.

    Raises:
        DecodeError: The content is not a request of this type, and cannot be mended.
        ValueError: Likewise.
    """
    try:
        message.ParseFromString(content)
    except PARSER_ERRORS:
        for trusts_parser in (True, False):
            attempt = Batch()
            mended = Mender(attempt, trusts_parser=trusts_parser).mend(content, message.DESCRIPTOR)
            if _is_parsed(mended, message):
                batch.rejected += attempt.rejected
                batch.warnings += attempt.warnings
                return
        raise


def _is_parsed(content: bytes, message: Message) -> bool:
    """Parse ``content`` into ``message``, and return whether it could be parsed."""
    try:
        message.ParseFromString(content)
    except PARSER_ERRORS:
        return False
    return True
