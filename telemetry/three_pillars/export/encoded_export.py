"""Send an encoded batch with the parts of OpenTelemetry's exporter that come after its encoder.

These are not public: the client that sends bytes, the exporter's own metrics, and the largest size
of a request. ``can_send_encoded`` says whether an exporter has them.
"""

import logging
from typing import Any

from opentelemetry.exporter.otlp.proto.http._common import RequestPayloadTooLargeError
from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE

_logger = logging.getLogger(__name__)

# This module uses what is not public in the exporter.
# ruff: noqa: SLF001


def can_send_encoded(exporter: Any) -> bool:  # noqa: ANN401  (its private attributes are not typed)
    """Return whether ``exporter`` has the parts that ``send_encoded`` needs; if not, log it."""
    try:
        is_able = (
            callable(exporter._client.export)
            and callable(exporter._metrics.export_operation)
            and isinstance(exporter._max_request_size, int)
            and isinstance(exporter._shutdown, bool)
        )
    except AttributeError:
        is_able = False
    if not is_able:
        _logger.warning("fast path export is off, because the OTLP exporter has changed")
    return is_able


def send_encoded(exporter: Any, count: int, body: bytes) -> bool:  # noqa: ANN401
    """Send ``body``, a request with ``count`` items, and return whether it was accepted.

    Like ``export()`` of the exporter, it drops a request that is too large, before compression.
    """
    if exporter._shutdown:
        _logger.warning("Exporter already shutdown, ignoring batch")
        return False
    with exporter._metrics.export_operation(count) as result:
        limit = exporter._max_request_size
        if 0 < limit < len(body):
            message = f"dropping a batch: {len(body)} bytes exceed max_request_size {limit}"
            _logger.warning(message)
            result.error = RequestPayloadTooLargeError(message)
            return False
        outcome = exporter._client.export(body)
        if not outcome.success:
            result.error = outcome.error
            if outcome.status_code is not None:
                result.error_attrs = {HTTP_RESPONSE_STATUS_CODE: outcome.status_code}
        return bool(outcome.success)
