"""The fast paths of the library, and the setting that switches them off.

A fast path does the same work as OpenTelemetry's SDK or instrumentation in less time, for the
ordinary case. Everything unusual takes the way of OpenTelemetry. What is sent is the same with and
without it; the tests compare the two. A fast path relies on parts of other libraries that are not
public, so that each can be switched off, in case a new version of them breaks it.
"""

from dataclasses import dataclass, fields

ALL = "all"
NONE = "none"


@dataclass(frozen=True)
class FastPaths:
    """Which fast paths are used; the field names are those of the setting."""

    routes: bool = True
    """Template of the route, and name of the span, from a cache (``route_cache.py``,
    ``span_details.py``)."""
    headers: bool = True
    """Only the headers that the instrumentation reads, and the response header ``traceresponse``
    without its response propagator (``used_headers.py``, ``trace_response.py``)."""
    metrics: bool = True
    """One measurement a request, from which the metrics are derived (``request_tally.py``)."""
    export: bool = True
    """Spans and log records are encoded when they end (``export/encoded_spans.py``)."""
    log: bool = True
    """An ordinary log event is handled in one pass; it needs ``export`` (``ordinary_events.py``).
    """

    @classmethod
    def parse(cls, text: str) -> "FastPaths":
        """Return the fast paths that ``text`` names.

        ``text`` is ``all``, ``none``, or a comma-separated list of field names.

        Raises:
            ValueError: ``text`` has another name.
        """
        chosen = {name.strip() for name in text.split(",")}
        if chosen == {ALL}:
            chosen = set(NAMES)
        elif chosen == {NONE}:
            chosen = set()
        unknown = chosen.difference(NAMES)
        if unknown:
            raise ValueError(
                f"fast path {min(unknown)!r}: expected {ALL}, {NONE}, or of {', '.join(NAMES)}"
            )
        return cls(**{name: name in chosen for name in NAMES})


NAMES = tuple(field.name for field in fields(FastPaths))


def check_fast_paths(text: str) -> str:
    """Validate ``text``, a value of the setting, and return it unchanged.

    Raises:
        ValueError: ``text`` names something else than fast paths.
    """
    FastPaths.parse(text)
    return text
