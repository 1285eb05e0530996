"""A batch of encoded spans or log records, as the body of an OTLP request.

The messages ``ExportTraceServiceRequest`` and ``ExportLogsServiceRequest`` have fields of the same
numbers, down to the spans and records, so both are written by the same code.
"""

from collections.abc import Sequence
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from .protobuf import LENGTH_DELIMITED, delimited, tag

# The fields of the request, of ResourceSpans and ResourceLogs, and of ScopeSpans and ScopeLogs.
RESOURCE_ITEMS = tag(1, LENGTH_DELIMITED)
SCOPE_ITEMS = tag(2, LENGTH_DELIMITED)
ITEMS = tag(2, LENGTH_DELIMITED)

MAX_HEADS = 64
"""The most pairs of resource and scope whose heads are kept; a process has a few."""


class EncodedItem(NamedTuple):
    """An encoded span or log record, with what it has in common with others."""

    resource: Resource
    scope: InstrumentationScope | None
    data: bytes


class BatchEncoder:
    """Writes requests, and keeps the encoded resources and scopes."""

    def __init__(self) -> None:
        self._heads: dict[tuple[Resource, InstrumentationScope | None], tuple[bytes, bytes]] = {}

    def encode(self, items: Sequence[EncodedItem]) -> bytes:
        """Return the body of a request with ``items``, grouped by resource and scope."""
        groups: dict[Resource, dict[InstrumentationScope | None, list[bytes]]] = {}
        # The hash of a resource takes microseconds, and most items share a few objects. An id is
        # unique here, because ``items`` keeps the objects alive.
        groups_by_id: dict[tuple[int, int], list[bytes]] = {}
        for item in items:
            ids = (id(item.resource), id(item.scope))
            group = groups_by_id.get(ids)
            if group is None:
                group = groups.setdefault(item.resource, {}).setdefault(item.scope, [])
                groups_by_id[ids] = group
            group.append(delimited(ITEMS, item.data))
        return b"".join(
            delimited(RESOURCE_ITEMS, self._encode_resource(resource, scopes))
            for resource, scopes in groups.items()
        )

    def _encode_resource(
        self, resource: Resource, scopes: dict[InstrumentationScope | None, list[bytes]]
    ) -> bytes:
        parts = []
        for scope, encoded_items in scopes.items():
            resource_head, scope_head = self._head(resource, scope)
            parts.append(delimited(SCOPE_ITEMS, b"".join((scope_head, *encoded_items))))
        return b"".join((resource_head, *parts))

    def _head(self, resource: Resource, scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
        """Return the encoded resource, and the encoded scope, each with its schema URL."""
        head = self._heads.get((resource, scope))
        if head is None:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            head = _encode_head(resource, scope)
            self._heads[resource, scope] = head
        return head


def _encode_head(resource: Resource, scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
    """Let OpenTelemetry's exporter encode a span, and leave the span out of the result."""
    span = ReadableSpan(
        "", context=INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope
    )
    resource_spans = encode_spans([span]).resource_spans[0]
    scope_spans = resource_spans.scope_spans[0]
    del scope_spans.spans[:]
    scope_head = scope_spans.SerializeToString()
    del resource_spans.scope_spans[:]
    return resource_spans.SerializeToString(), scope_head
