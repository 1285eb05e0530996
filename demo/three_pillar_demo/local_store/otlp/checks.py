"""Checks of times and ids, and the identity of the sender, as needed for every signal."""

import time
from typing import Any

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from three_pillar_demo.local_store.otlp.batch import Source
from three_pillar_demo.local_store.values import (
    json_attributes,
    redacted_text,
    short_name,
    to_json,
    to_text,
)

MAX_INTEGER = 2**63 - 1
"""The largest integer that SQLite stores."""
TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8
MAX_HOURS_AHEAD = 24
MAX_AHEAD_NS = MAX_HOURS_AHEAD * 3600 * 10**9
"""How far in the future, in nanoseconds, the time of an accepted record may be.

A record with a later time comes from a sender whose clock is wrong. If such a record were stored,
it would be the newest record for days.
"""


def time_problem(field: str, time_unix_nano: int) -> str:
    """Return why a time is rejected, or an empty string if the time is valid.

    ``field`` is the name of the time's field, for the message. ``time_unix_nano`` is the time in
    nanoseconds since the epoch. A time is rejected if it is 0 or more than ``MAX_HOURS_AHEAD``
    hours in the future.
    """
    if not time_unix_nano:
        return f"{field} missing"
    if time_unix_nano > time.time_ns() + MAX_AHEAD_NS:
        return f"{field} over {MAX_HOURS_AHEAD} h in the future"
    return ""


def are_valid_ids(trace_id: bytes, span_id: bytes) -> bool:
    """Return whether the trace id has 16 bytes and the span id 8, and neither id is all zeros."""
    return (
        len(trace_id) == TRACE_ID_BYTES
        and len(span_id) == SPAN_ID_BYTES
        and any(trace_id)
        and any(span_id)
    )


def source_of(resource: Resource, scope: Any) -> Source:  # noqa: ANN401  (generated code)
    """Return the sender of records as a ``Source``, from its resource and instrumentation scope."""
    attributes = json_attributes(resource.attributes)
    scope_fields: dict[str, Any] = {
        "name": redacted_text(short_name(scope.name)),
        "version": redacted_text(short_name(scope.version)),
    }
    scope_attributes = json_attributes(scope.attributes)
    if scope_attributes:
        scope_fields["attributes"] = scope_attributes
    return (
        to_text(attributes.get("service.name", "unknown_service")),
        to_text(attributes.get("service.instance.id", "")),
        to_json(attributes),
        to_json(scope_fields),
    )
