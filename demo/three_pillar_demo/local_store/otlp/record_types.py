"""What can be left out of an OTLP request so that one invalid item does not cost the others."""

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor

MAX_DEPTH = 100
"""The maximum depth of nested messages, as in protobuf's parsers."""
CONTAINERS = {
    "ResourceSpans": "resource",
    "ResourceLogs": "resource",
    "ResourceMetrics": "resource",
    "ScopeSpans": "scope",
    "ScopeLogs": "scope",
    "ScopeMetrics": "scope",
}
"""The message types that hold many records, with the word for what their records share."""
SINGLE_RECORDS = {
    "Span": "span",
    "LogRecord": "log record",
    "NumberDataPoint": "data point",
    "HistogramDataPoint": "data point",
    "ExponentialHistogramDataPoint": "data point",
    "SummaryDataPoint": "data point",
}
"""The message types of which each message is one record, with the word for it."""
RECORDS = {**CONTAINERS, "Metric": "metric", **SINGLE_RECORDS}
"""The message types that are rejected as a whole, with the word for them."""
HOLDERS = {
    *CONTAINERS,
    "Metric",
    "Gauge",
    "Sum",
    "Histogram",
    "ExponentialHistogram",
    "Summary",
}
"""The message types in which there are records."""
PARTS = {"KeyValue": "attribute", "Event": "event", "Link": "link", "Exemplar": "exemplar"}
"""The message types that are left out of a record, which is kept, with the word for them."""
DROPPED_COUNTS = {
    "KeyValue": "dropped_attributes_count",
    "Event": "dropped_events_count",
    "Link": "dropped_links_count",
}
"""The field of a record that counts the parts of a type that were left out."""
EMPTY_IF_INVALID = {"resource", "scope"}
"""Fields that count as absent if they are invalid, because many records share them."""

Children = Callable[[Any, Descriptor], Iterable[tuple[Any, Descriptor]]]
"""A function that returns the messages in a message, given in any encoding, with their types."""


def lost_count(value: Any, descriptor: Descriptor, children: Children) -> int:  # noqa: ANN401  (any encoding)
    """Return how many records are lost with the message ``value`` of the type ``descriptor``.

    The result is at least 1, because what is in a malformed message cannot always be seen.
    """
    return max(1, _record_count(value, descriptor, children))


def _record_count(value: Any, descriptor: Descriptor, children: Children) -> int:  # noqa: ANN401  (any encoding)
    if descriptor.name in SINGLE_RECORDS:
        return 1
    if descriptor.name not in HOLDERS:
        return 0
    return sum(_record_count(*child, children) for child in children(value, descriptor))
