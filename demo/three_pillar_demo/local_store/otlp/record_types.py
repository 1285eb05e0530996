"""What can be left out of an OTLP request so that one invalid item does not cost the others."""

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
RECORDS = {
    **CONTAINERS,
    "Span": "span",
    "LogRecord": "log record",
    "Metric": "metric",
    "NumberDataPoint": "data point",
    "HistogramDataPoint": "data point",
    "ExponentialHistogramDataPoint": "data point",
    "SummaryDataPoint": "data point",
}
"""The message types that are rejected as a whole, with the word for them."""
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
