"""Spans and log records, as every query returns them.

Times are nanoseconds since the epoch, as integers. Trace ids have 32 lower-case hex digits, span
ids have 16.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from three_pillar_demo.query.severity import is_failure

NANO = 1_000_000_000
"""Nanoseconds in a second."""
VERSION = "service.version"
"""The one resource attribute that queries add to the attributes of spans and log records.

Two versions of a service may run at once during a deployment. This attribute tells them apart.
"""


@dataclass(frozen=True)
class Scope:
    """The instrumentation scope of a record: the library that created it.

    All fields are empty if the sender did not name a scope.
    """

    name: str = ""
    version: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SpanEvent:
    """One event of a span; ``time`` is in nanoseconds since the epoch.

    An exception is an event with the name ``exception`` and the attributes ``exception.type``,
    ``exception.message`` and ``exception.stacktrace``. ``dropped_attributes`` is the number of
    attributes that the sender or the backend has dropped.
    """

    time: int
    name: str
    attributes: dict[str, Any]
    dropped_attributes: int = 0


@dataclass(frozen=True)
class SpanLink:
    """One link from a span to a span of this or another trace, with the fields of OTLP.

    ``trace_state`` is the linked span's W3C ``tracestate`` header, and ``flags`` its flags.
    """

    trace_id: str
    span_id: str
    attributes: dict[str, Any]
    trace_state: str = ""
    flags: int = 0
    dropped_attributes: int = 0


@dataclass(frozen=True)
class Span:
    """One span of a trace; ``start`` and ``end`` are in nanoseconds since the epoch.

    Attributes:
        parent_id: The id of the parent span; empty for a root span.
        kind: SERVER, CLIENT, INTERNAL, PRODUCER, CONSUMER or UNSPECIFIED.
        error: Whether the status is ERROR.
        message: The description of the status.
        attributes: The attributes, with their OpenTelemetry names, and in addition the resource
            attribute ``VERSION`` if the resource has it.
        exceptions: The recorded exceptions, each as ``Type: message``; the type has no module.
        status: The name of the status: UNSET, OK or ERROR.
        events: All events in the order of the sender, exceptions included.
        links: All links with valid ids, in the order of the sender.
        trace_state: The W3C ``tracestate`` header; empty if there was none.
        flags: OTLP's flags: bits 0 to 7 are the W3C trace flags, bits 8 and 9 say whether the
            parent is remote.
        dropped_attributes: How many attributes the sender or the backend has dropped.
        dropped_events: How many events the sender or the backend has dropped.
        dropped_links: How many links the sender or the backend has dropped.
        resource: All resource attributes, with their OpenTelemetry names.
        scope: The instrumentation scope.
    """

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start: int
    end: int
    error: bool
    message: str
    attributes: dict[str, Any]
    exceptions: tuple[str, ...]
    status: str = "UNSET"
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    trace_state: str = ""
    flags: int = 0
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    resource: dict[str, Any] = field(default_factory=dict)
    scope: Scope = Scope()


def distinct_spans(spans: Sequence[Span]) -> list[Span]:
    """Return ``spans`` without those that equal an earlier one in every field.

    OTLP delivers at least once: a sender that got no answer sends its batch again, and a backend
    may store both. Two different spans with one id are kept, because the sender made a mistake that
    is to be seen.
    """
    if len({span.span_id for span in spans}) == len(spans):
        return list(spans)
    # The attributes are not hashable, and a comparison of each pair would take minutes in a trace
    # of ten thousand spans with one id.
    span_by_text: dict[str, Span] = {}
    for span in spans:
        span_by_text.setdefault(repr(span), span)
    return list(span_by_text.values())


@dataclass(frozen=True)
class LogRecord:
    """One log record; ``time`` is in nanoseconds since the epoch.

    Only the local store fills ``attributes``, ``resource`` and the attributes of ``scope``. Loki
    keeps all attributes as text in one list, under the names in ``fields``.

    Attributes:
        severity: OTLP's severity text, such as INFO, WARN or ERROR.
        fields: The attributes as text, with ``_`` for each ``.`` (``http_route``). They include
            ``trace_id`` and ``span_id`` for a record that was written during a span. Attributes
            without a value are left out.
        attributes: The attributes with their OpenTelemetry names and types.
        severity_number: OTLP's severity number, 1 to 24; 0 if it is not known.
        observed_time: The time at which the record was collected, in nanoseconds since the epoch;
            0 if it is not known.
        event_name: The name of the event that the record describes; empty for other records.
        flags: OTLP's flags, whose bits 0 to 7 are the W3C trace flags.
        dropped_attributes: How many attributes the sender or the store has dropped.
        resource: All resource attributes, with their OpenTelemetry names.
        scope: The instrumentation scope.
    """

    time: int
    service: str
    severity: str
    body: str
    fields: dict[str, str]
    attributes: dict[str, Any] = field(default_factory=dict)
    severity_number: int = 0
    observed_time: int = 0
    event_name: str = ""
    flags: int = 0
    dropped_attributes: int = 0
    resource: dict[str, Any] = field(default_factory=dict)
    scope: Scope = Scope()

    @property
    def failed(self) -> bool:
        """Whether the severity is that of an error or of something worse."""
        return is_failure(self.severity, self.severity_number)


Arrival = Span | LogRecord
"""The span of a request, or a log record."""
