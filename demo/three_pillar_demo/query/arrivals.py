"""The order of requests and log records: by the time at which each became known to its service."""

from three_pillar_demo.query.interface import NANO, Arrival, Span

MAX_SECONDS_BACK = 3600.0
"""How far back, in seconds, the history before the first poll reaches."""


def time_of(arrival: Arrival) -> int:
    """Return when a request ended or a log record was written, in nanoseconds since the epoch."""
    return arrival.end if isinstance(arrival, Span) else arrival.time


def newest(arrivals: list[Arrival], limit: int) -> list[Arrival]:
    """Return the newest ``limit`` of ``arrivals``, oldest first."""
    ordered = sorted(arrivals, key=time_of)
    return ordered[-limit:] if limit else []


def nanoseconds(seconds: float) -> int:
    """Convert seconds to whole nanoseconds."""
    return int(seconds * NANO)
