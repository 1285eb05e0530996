"""Renders a trace for the terminal: its tree with times, its exemplars and its explanation."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle

from rich.console import Console, ConsoleOptions
from rich.text import Text

from three_pillar_demo.query.interface import NANO, Exemplar, LogRecord, Span
from three_pillar_demo.query.severity import level_of, shown_level
from three_pillar_demo.terminal import printable, without_ansi
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.trace_view.clocks import clock_skews
from three_pillar_demo.trace_view.explanation import explain, failures
from three_pillar_demo.trace_view.names import service_text, span_text
from three_pillar_demo.trace_view.span_notes import span_notes
from three_pillar_demo.trace_view.tree import MAX_INDENT, TreeRow, tree_rows
from three_pillar_demo.trace_view.view import TraceView

NANOS_PER_MILLI = 1_000_000
START_WIDTH = 9
"""The width of the start column left of the tree, in characters.

The width includes two spaces between the column and the tree.
"""
DURATION_WIDTH = 9
"""The width of the duration column right of the tree, in characters."""
BAR_WIDTH = 14
"""The width of the timeline at the right edge, in characters."""
MIN_WIDTH_FOR_BARS = 72
"""The lowest width of a console, in characters, at which the timeline is shown."""
MIN_TREE_WIDTH = 20
"""The lowest width of the text in the tree, in characters, however deep the tree is."""
SHOWN_ATTRIBUTES = (
    "order.id",
    "order.amount",
    "order.currency",
    "order.outcome",
    "card.network",
    "error.type",
)
"""The names of the span attributes that the terminal shows."""
SERVICE_COLOURS = ("cyan", "magenta", "green", "blue")
SEVERITY_INDENT = "      "
"""The indent of wrapped log lines: as wide as a severity and the space behind it."""
BAR_CHARACTERS = {(True, True): "━", (True, False): "╸", (False, True): "╺", (False, False): " "}
"""The characters that draw a bar of the timeline.

The key says whether the bar covers the left half and the right half of the character.
"""


@dataclass
class Drawing:
    """A trace that the library ``rich`` can print, as wide as the console.

    The output has colours only if the console is a terminal.
    """

    view: TraceView

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield the lines of the drawing; rich calls this method to print it."""
        renderer = _Renderer(self.view, console, options.max_width)
        yield from renderer.heading()
        yield Text()
        yield from renderer.tree()
        yield Text()
        yield from renderer.exemplars()
        yield Text()
        for remark in (*self.view.remarks, *clock_skews(self.view)):
            yield from renderer.paragraph(Text(f"Note: {printable(remark, 600)}", "yellow"))
        explanation = Text.assemble(("Why: ", "bold"), explain(self.view))
        yield from renderer.paragraph(explanation)


class _Renderer:
    """Renders the parts of a ``Drawing``, each ``width`` characters wide."""

    def __init__(self, view: TraceView, console: Console, width: int) -> None:
        self.view = view
        self.console = console
        self.width = width
        self.start = view.start
        self.end = view.end
        services = dict.fromkeys(span.service for span in view.spans)
        self.colours = dict(zip(services, cycle(SERVICE_COLOURS), strict=False))
        self.bar_width = BAR_WIDTH if width >= MIN_WIDTH_FOR_BARS else 0

    def heading(self) -> Iterator[Text]:
        """Yield the trace id, its time, duration and size, and the versions of the services."""
        yield Text.assemble("Trace ", (self.view.trace_id, "bold"))
        started_at = datetime.fromtimestamp(self.start / NANO, UTC)
        duration = _milliseconds(self.end - self.start)
        spans = _count(len(self.view.spans), "span")
        logs = _count(len(self.view.logs), "log line")
        yield Text(f"{started_at:%Y-%m-%d %H:%M:%S} UTC, {duration} ms, {spans}, {logs}", "dim")
        versions = {
            span.service: span.attributes["service.version"]
            for span in self.view.spans
            if "service.version" in span.attributes
        }
        if versions:
            texts = [f"{printable(name)} {printable(value)}" for name, value in versions.items()]
            yield from self.paragraph(Text(", ".join(texts), "dim"))

    def tree(self) -> Iterator[Text]:
        """Yield the column titles, then the spans with their details, and the log records."""
        yield from self._row(
            "start",
            "",
            "",
            Text("span or log line (times in ms)", "dim"),
            Text("duration".rjust(DURATION_WIDTH).ljust(self._right_width), "dim"),
        )
        for row in tree_rows(self.view):
            if isinstance(row.node, Span):
                yield from self._span_rows(row, row.node)
            else:
                yield from self._log_rows(row, row.node)

    def exemplars(self) -> Iterator[Text]:
        """Yield a heading and the exemplars that point to this trace, sorted by service.

        The order of the services is that of their first spans in the trace. Without exemplars,
        yield a sentence that says so.
        """
        if not self.view.exemplars:
            yield from self.paragraph(
                Text(
                    "No exemplar points to this trace: a service sends few of them, or none.",
                    "dim",
                )
            )
            return
        metric = printable(self.view.exemplars[0].labels.get("__name__", "?"))
        yield from self.paragraph(Text(f"Exemplars of this trace, in {metric}:", "dim"))
        for exemplar in sorted(self.view.exemplars, key=self._service_position):
            yield from self.paragraph(self._exemplar_text(exemplar))

    def paragraph(self, text: Text) -> Iterator[Text]:
        """Yield the lines of ``text``, wrapped at the full width."""
        for line in text.wrap(self.console, self.width):
            line.rstrip()
            yield line

    @property
    def _right_width(self) -> int:
        if not self.bar_width:
            return DURATION_WIDTH
        return DURATION_WIDTH + 2 + self.bar_width

    def _span_rows(self, row: TreeRow, span: Span) -> Iterator[Text]:
        colour = self.colours[span.service]
        right = Text(_milliseconds(span.end - span.start).rjust(DURATION_WIDTH))
        if self.bar_width:
            right.append("  " + self._bar(span), colour)
        start = _milliseconds(span.start - self.start)
        label = self._span_label(span, colour)
        if row.depth > MAX_INDENT:
            label.append(f" depth {row.depth}", "dim")
        yield from self._row(start, row.prefix, row.child_prefix, label, right)
        detail_prefix = row.child_prefix + ("   " if row.is_leaf else "│  ")
        for detail in _span_details(row, span):
            yield from self._row("", detail_prefix, detail_prefix, detail)

    def _span_label(self, span: Span, colour: str) -> Text:
        label = Text.assemble(
            (service_text(span.service), f"bold {colour}"), " ", span_text(span.name)
        )
        label.append(f" {printable(span.kind.lower())}", "dim")
        status = status_of(span)
        if status:
            label.append(f" {printable(status)}")
        if span.error:
            label.append(" ✗", "bold red")
        return label

    def _log_rows(self, row: TreeRow, record: LogRecord) -> Iterator[Text]:
        severity = printable(shown_level(record.severity, record.severity_number))
        text = Text.assemble(
            (f"{severity:<5} ", severity_colour(record)), printable(without_ansi(record.body))
        )
        if row.parent is None or row.parent.service != record.service:
            text.append(f" ({service_text(record.service)})", "dim")
        start = _milliseconds(record.time - self.start)
        wrapped_prefix = row.child_prefix + SEVERITY_INDENT
        yield from self._row(start, row.prefix, wrapped_prefix, text)

    def _row(
        self,
        start: str,
        prefix: str,
        wrapped_prefix: str,
        text: Text,
        right: Text | None = None,
    ) -> Iterator[Text]:
        """Yield one row of the tree as one or more lines; ``text`` is wrapped to its column.

        The first line has, from left to right: ``start``, ``prefix``, the beginning of ``text``,
        and ``right`` (the duration and the timeline). The other lines have ``wrapped_prefix`` and
        the rest of ``text``.
        """
        used_width = START_WIDTH + len(wrapped_prefix)
        if right:
            used_width += self._right_width + 1
        text_width = max(MIN_TREE_WIDTH, self.width - used_width)
        for number, part in enumerate(text.wrap(self.console, text_width)):
            part.rstrip()
            if number == 0:
                line = self._line(start, prefix, part)
                if right:
                    line.pad_right(self.width - self._right_width - line.cell_len)
                    line.append_text(right)
            else:
                line = self._line("", wrapped_prefix, part)
            line.rstrip()
            line.no_wrap = True
            line.overflow = "ignore"
            yield line

    def _line(self, start: str, prefix: str, part: Text) -> Text:
        start_column = start.rjust(START_WIDTH - 2) + "  "
        return Text.assemble((start_column, "dim"), (prefix, "dim"), part)

    def _bar(self, span: Span) -> str:
        """Return the characters of the timeline that show when during the trace the span ran.

        The resolution is half a character, which is also the length of the shortest bar.
        """
        half_count = 2 * self.bar_width
        scale = half_count / max(1, self.end - self.start)
        first_half = min(round((span.start - self.start) * scale), half_count - 1)
        end_half = max(round((span.end - self.start) * scale), first_half + 1)
        characters = []
        for left in range(0, half_count, 2):
            right = left + 1
            halves = (first_half <= left < end_half, first_half <= right < end_half)
            characters.append(BAR_CHARACTERS[halves])
        return "".join(characters)

    def _service_position(self, exemplar: Exemplar) -> int:
        """Return the position of the exemplar's service among the services of the trace.

        Exemplars are sorted by this position. Services that are not in the trace come last.
        """
        services = list(self.colours)
        service = exemplar.labels.get("service_name", "")
        return services.index(service) if service in services else len(services)

    def _exemplar_text(self, exemplar: Exemplar) -> Text:
        service = _label(exemplar, "service_name")
        method = _label(exemplar, "http_request_method")
        route = _label(exemplar, "http_route")
        status = _label(exemplar, "http_response_status_code")
        bucket = _label(exemplar, "le")
        return Text.assemble(
            "  ",
            (service, f"bold {self.colours.get(service, 'default')}"),
            f" {method} {route} {status}: {exemplar.value:.4f} s, in the bucket le={bucket}",
        )


def severity_colour(record: LogRecord) -> str:
    """Return the colour in which the terminal shows the severity of a log record."""
    if record.failed:
        return "red"
    level = level_of(record.severity, record.severity_number)
    return "yellow" if level == "WARN" else "green"


def _span_details(row: TreeRow, span: Span) -> Iterator[Text]:
    """Yield a line with ``SHOWN_ATTRIBUTES``, then one for each failure and note of the span."""
    attributes = {
        name: printable(span.attributes[name])
        for name in SHOWN_ATTRIBUTES
        if name in span.attributes
    }
    if attributes.get("error.type") in _known_errors(span, attributes):
        attributes.pop("error.type", None)
    if attributes:
        pairs = [f"{name}={value}" for name, value in attributes.items()]
        yield Text(" ".join(pairs), "dim")
    for failure in failures(span):
        yield Text(failure, "red")
    for note in span_notes(row, span):
        yield Text(note, "yellow")


def _known_errors(span: Span, attributes: dict[str, str]) -> set[str | None]:
    """Return the texts that another part of the span's output already shows.

    They are the outcome of the order, the HTTP status, and the types of the exceptions. If the
    attribute ``error.type`` has one of these values, it is not shown again.
    """
    exception_types = {failure.split(":")[0] for failure in failures(span)}
    return {attributes.get("order.outcome"), status_of(span), *exception_types}


def _label(exemplar: Exemplar, name: str) -> str:
    return printable(exemplar.labels.get(name, "?"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / NANOS_PER_MILLI:.1f}"
