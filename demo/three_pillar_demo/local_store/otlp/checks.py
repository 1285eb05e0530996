"""Checks of times and ids, and the identity of the sender, as needed for every signal."""

import time
from typing import Any

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from three_pillar_demo.local_store.otlp.batch import Batch, Source
from three_pillar_demo.local_store.values import (
    redacted_text,
    short_name,
    stored_attributes,
    to_json,
    to_text,
)

MAX_INTEGER = 2**63 - 1
"""The largest integer that SQLite stores."""
MAX_AGE_HOURS = 48
"""The maximum age, in hours, of an accepted span or log record: they are kept for this long."""
MAX_POINT_AGE_HOURS = 6
"""The maximum age, in hours, of an accepted data point or exemplar.

It is shorter than ``MAX_AGE_HOURS`` because points arrive every second, even without traffic.
"""
HOUR_NS = 3600 * 10**9
TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8
MAX_HOURS_AHEAD = 24
MAX_AHEAD_NS = MAX_HOURS_AHEAD * HOUR_NS
"""How far in the future, in nanoseconds, the time of an accepted record may be.

A record with a later time comes from a sender whose clock is wrong. If such a record were stored,
it would be the newest record for days.
"""


def time_problem(field: str, time_unix_nano: int, max_age_hours: int = MAX_AGE_HOURS) -> str:
    """Return why a time is rejected, or an empty string if the time is valid.

    ``field`` is the name of the time's field, for the message. ``time_unix_nano`` is the time in
    nanoseconds since the epoch. A time is rejected if it is 0, more than ``MAX_HOURS_AHEAD`` hours
    in the future, or more than ``max_age_hours`` in the past, because retention would delete it.
    """
    if not time_unix_nano:
        return f"{field} missing"
    age_ns = time.time_ns() - time_unix_nano
    if age_ns < -MAX_AHEAD_NS:
        return f"{field} over {MAX_HOURS_AHEAD} h in the future"
    if age_ns > max_age_hours * HOUR_NS:
        return f"{field} older than the retention of {max_age_hours} h"
    return ""


def are_valid_ids(trace_id: bytes, span_id: bytes) -> bool:
    """Return whether the trace id has 16 bytes and the span id 8, and neither id is all zeros."""
    return is_valid_trace_id(trace_id) and is_valid_span_id(span_id)


def is_valid_trace_id(trace_id: bytes) -> bool:
    """Return whether the trace id has 16 bytes that are not all zeros."""
    return len(trace_id) == TRACE_ID_BYTES and any(trace_id)


def is_valid_span_id(span_id: bytes) -> bool:
    """Return whether the span id has 8 bytes that are not all zeros."""
    return len(span_id) == SPAN_ID_BYTES and any(span_id)


def source_of(resource: Resource, scope: Any, batch: Batch) -> Source:  # noqa: ANN401  (generated code)
    """Return the sender of records as a ``Source``, from its resource and instrumentation scope.

    Attributes that are left out are counted in ``batch``.
    """
    attributes = stored_attributes(resource.attributes, batch)
    scope_fields: dict[str, Any] = {
        "name": redacted_text(short_name(scope.name)),
        "version": redacted_text(short_name(scope.version)),
    }
    scope_attributes = stored_attributes(scope.attributes, batch)
    if scope_attributes:
        scope_fields["attributes"] = scope_attributes
    return (
        _text_of(attributes, "service.name", "unknown_service"),
        _text_of(attributes, "service.instance.id", ""),
        to_json(attributes),
        to_json(scope_fields),
    )


def _text_of(attributes: dict[str, Any], key: str, default: str) -> str:
    """Return an attribute as text, or ``default`` if it is missing or has no value."""
    value = attributes.get(key)
    return default if value is None else to_text(value)
