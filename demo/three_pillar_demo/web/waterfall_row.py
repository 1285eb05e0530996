"""One row of the waterfall of a trace, and the limits of what is drawn."""

from dataclasses import dataclass, field

from three_pillar_demo.trace_view.log_body import LogBody
from three_pillar_demo.web.folding import Below

Bar = tuple[float, float]
"""The horizontal position of a bar, and its width."""
Pairs = list[tuple[str, str]]
"""Names and values of attributes."""


@dataclass(frozen=True)
class Limits:
    """How much of a trace is drawn; more would make pages of many megabytes.

    Attributes:
        rows: The number of spans and log records.
        attributes: The number of attributes of a span, event or link, or fields of a log record.
        text: The number of characters of a stack trace, or of the body of a log record.
        all_texts: The number of characters of all stack traces and bodies together.
    """

    rows: int = 1_000
    attributes: int = 40
    text: int = 8_000
    all_texts: int = 200_000


@dataclass(frozen=True)
class Section:
    """A part of a row's details: a heading, attributes, and a stack trace.

    ``trace_id`` and ``span_id`` are those of the linked span; both are "" unless the section is a
    link.
    """

    heading: str
    attributes: Pairs = field(default_factory=list)
    stack_trace: str = ""
    trace_id: str = ""
    span_id: str = ""


@dataclass(frozen=True)
class WaterfallRow:
    """A row of the waterfall, for a span or a log record. All times are in seconds.

    Attributes:
        key: A text that identifies the row on the page.
        start: The time from the start of the trace to the start of the span, or to the log record.
        depth: The number of spans above the row.
        indent: The number of levels that the row is indented: the depth, up to ``MAX_INDENT``.
        text: The name of a span, or the line that stands for the body of a log record.
        body: The body of a log record, within the limits; None for a span.
        record_key: What identifies a log record in the address of its page; "" for a span.
        level: The kind of a span, or the severity of a log record.
        error: Whether a span has error status, or the severity of a log record is that of
            an error.
        css_class: The CSS class of the service.
        names_service: Whether the row of a log record names its service, because its span is of
            another service or is missing.
        attributes: The names and values of a span's attributes or a log record's fields.
        sections: The events and links of a span, and the stack trace of a row.
        resource_key: The text that tells the resource of the row apart from others.
        origin: Names and values of the ids, the instrumentation scope, and what was dropped.
        left_out: The number of rows between this one and the one before it that are not drawn.
        below: What is below the row in the tree, drawn or not.
        shift: By how much the row was moved because the clock of its service was wrong.
        is_collapsed: Whether the rows below this one are not drawn, because it is collapsed.
        span_id: The id of a span; "" for a log record.
        x: The horizontal position of the row's start.
        bar: The bar of a span; None for a log record.
        own_bars: The parts of the span in which none of its children runs.
        late_bar: The part of the span after its caller stopped waiting; None if there is no such
            part.
        late_duration: The duration of the part that ``late_bar`` shows; 0 if there is no such part.
        duration: The duration of a span; 0 for a log record.
        status: The HTTP status of a span; "" if unknown, and for a log record.
        failures: The failures that a span records; empty for a log record.
        notes: What is wrong with the time of a span or its parent; empty for a log record.
    """

    key: str
    start: float
    depth: int
    indent: int
    service: str
    css_class: str
    text: str
    level: str
    error: bool
    attributes: Pairs
    x: float
    names_service: bool = False
    body: LogBody | None = None
    record_key: str = ""
    sections: list[Section] = field(default_factory=list)
    resource_key: str = ""
    origin: Pairs = field(default_factory=list)
    left_out: int = 0
    below: Below = field(default_factory=Below)
    is_collapsed: bool = False
    shift: float = 0.0
    span_id: str = ""
    bar: Bar | None = None
    own_bars: list[Bar] = field(default_factory=list)
    late_bar: Bar | None = None
    late_duration: float = 0.0
    duration: float = 0.0
    status: str = ""
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
