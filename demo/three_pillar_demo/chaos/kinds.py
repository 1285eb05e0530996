"""The kinds of telemetry items that a rehearsal counts."""

SPANS = "spans"
LOG_RECORDS = "log_records"
COUNTS = "counts"
"""Counts are the requests in the counters of both services."""

KINDS = (SPANS, LOG_RECORDS, COUNTS)


def label(kind: str) -> str:
    """Return the name of a kind as it is shown to a person."""
    return kind.replace("_", " ")
