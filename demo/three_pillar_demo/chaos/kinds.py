"""The kinds of telemetry items that a rehearsal counts."""

SPANS = "spans"
LOG_RECORDS = "log_records"
COUNTS = "counts"
"""Increments of the request counters of checkout and payment: one for each request."""

KINDS = (SPANS, LOG_RECORDS, COUNTS)
"""All kinds, in the order in which they are printed."""


def label(kind: str) -> str:
    """Return the name of a kind as it is printed, such as ``log records`` for ``log_records``."""
    return kind.replace("_", " ")
