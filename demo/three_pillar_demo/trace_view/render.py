"""Draws a trace's story: the tree with its times, the exemplars that point to it, and the sentence that says why."""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle

from rich.console import Console, ConsoleOptions
from rich.text import Text

from three_pillar_demo.query.interface import NANO, Exemplar, LogRecord, Span
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.view import STATUS, Row, TraceView, astray, failures, rows, why

MILLI = 1_000_000
"""Nanoseconds in a millisecond."""
AT, TOOK, BAR = 9, 9, 14
"""Widths in characters: the times left and right of the tree, and the bar."""
ROOMY = 72
"""On a console narrower than this the bars are left out."""
NARROWEST = 20
"""The tree keeps this many characters for its words, however deep it gets."""
FIELDS = (
    "order.id",
    "order.amount",
    "order.currency",
    "order.outcome",
    "card.network",
    "error.type",
)
"""Span attributes worth reading here; the store has the rest."""
SEVERITIES = {"ERROR": "red", "FATAL": "red", "WARN": "yellow"}
HALVES = {(True, True): "━", (True, False): "╸", (False, True): "╺", (False, False): " "}


@dataclass
class Drawing:
    """A story as rich prints it: at the console's width, in colour on a terminal, plain in a pipe."""

    story: TraceView

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield line by line."""
        page = _Page(self.story, console, options.max_width)
        yield from page.title()
        yield Text()
        yield from page.tree()
        yield Text()
        yield from page.exemplars()
        for remark in self.story.remarks:
            yield from page.paragraph(Text(f"Remark: {printable(remark, 600)}", "yellow"))
        yield from page.paragraph(Text.assemble(("Why: ", "bold"), why(self.story)))


class _Page:
    """The parts of a drawing, in a room of ``width`` characters."""

    def __init__(self, story: TraceView, console: Console, width: int) -> None:
        self.story, self.console, self.width = story, console, width
        self.begin = min(span.start for span in story.spans)
        self.end = max(span.end for span in story.spans)
        services = dict.fromkeys(span.service for span in story.spans)
        self.colours = dict(
            zip(services, cycle(("cyan", "magenta", "green", "blue")), strict=False)
        )
        self.bar = BAR if width >= ROOMY else 0

    def title(self) -> Iterator[Text]:
        when = datetime.fromtimestamp(self.begin / NANO, UTC)
        yield Text.assemble("Trace ", (self.story.trace_id, "bold"))
        counts = f"{_count(self.story.spans, 'span')}, {_count(self.story.lines, 'log line')}"
        yield Text(
            f"{when:%Y-%m-%d %H:%M:%S} UTC, {_ms(self.end - self.begin)} ms, {counts}", "dim"
        )
        known = {
            span.service: span.attributes["service.version"]
            for span in self.story.spans
            if "service.version" in span.attributes
        }
        if known:
            yield from self.paragraph(
                Text(
                    ", ".join(
                        f"{printable(service)} {printable(version)}"
                        for service, version in known.items()
                    ),
                    "dim",
                )
            )

    def tree(self) -> Iterator[Text]:
        """One row for each span and line; a span's details are below it."""
        yield from self._row(
            "at (ms)",
            "",
            "",
            Text("span or log line", "dim"),
            Text("took (ms)".ljust(self._right), "dim"),
        )
        for row in rows(self.story):
            if isinstance(row.node, Span):
                yield from self._span(row, row.node)
            else:
                yield from self._line(row, row.node)

    @property
    def _right(self) -> int:
        return TOOK + (self.bar + 2 if self.bar else 0)

    def _span(self, row: Row, span: Span) -> Iterator[Text]:
        colour = self.colours[span.service]
        label = Text.assemble(
            (printable(span.service), f"bold {colour}"), " ", printable(span.name)
        )
        label.append(f" {printable(span.kind.lower())}", "dim")
        if STATUS in span.attributes:
            label.append(f" {printable(span.attributes[STATUS])}")
        if span.error:
            label.append(" ✗", "bold red")
        right = Text(f"{_ms(span.end - span.start):>{TOOK}}")
        if self.bar:
            right.append("  " + self._bar(span), colour)
        yield from self._row(_ms(span.start - self.begin), row.head, row.rest, label, right)
        stem = row.rest + ("   " if row.leaf else "│  ")
        for detail in _details(span, row.parent):
            yield from self._row("", stem, stem, detail)

    def _line(self, row: Row, line: LogRecord) -> Iterator[Text]:
        severity = printable(line.severity)
        text = Text.assemble(
            (f"{severity:<5} ", SEVERITIES.get(severity, "green")), printable(line.body)
        )
        if row.parent is None or row.parent.service != line.service:
            text.append(f" ({printable(line.service)})", "dim")
        yield from self._row(_ms(line.time - self.begin), row.head, row.rest + " " * 6, text)

    def _row(
        self, at: str, head: str, rest: str, text: Text, right: Text | None = None
    ) -> Iterator[Text]:
        """``text`` behind its time and branch, wrapped; ``right`` stands at the right edge of the first line."""
        taken = AT + len(rest) + (self._right + 1 if right else 0)
        room = max(NARROWEST, self.width - taken)
        for number, part in enumerate(text.wrap(self.console, room)):
            part.rstrip()
            line = Text.assemble(
                (f"{'' if number else at:>{AT - 2}}  ", "dim"),
                (rest if number else head, "dim"),
                part,
            )
            if right and not number:
                line.pad_right(self.width - self._right - line.cell_len)
                line.append_text(right)
            line.rstrip()
            line.no_wrap, line.overflow = True, "ignore"
            yield line

    def _bar(self, span: Span) -> str:
        """Where in the trace's time the span lies, in half characters; even the shortest gets one."""
        scale = 2 * self.bar / max(1, self.end - self.begin)
        first = min(round((span.start - self.begin) * scale), 2 * self.bar - 1)
        after = max(round((span.end - self.begin) * scale), first + 1)
        halves = [first <= half < after for half in range(2 * self.bar)]
        return "".join(HALVES[pair] for pair in zip(halves[::2], halves[1::2], strict=True))

    def paragraph(self, text: Text) -> Iterator[Text]:
        """``text`` wrapped at the width."""
        for part in text.wrap(self.console, self.width):
            part.rstrip()
            yield part

    def exemplars(self) -> Iterator[Text]:
        """The dots on a graph that lead here."""
        if self.story.exemplars:
            name = printable(self.story.exemplars[0].labels.get("__name__", "?"))
            yield from self.paragraph(Text(f"Exemplars that point here, in {name}:", "dim"))
            for each in sorted(self.story.exemplars, key=self._service_order):
                yield from self.paragraph(self._exemplar(each))
        else:
            none = "No exemplar points here. In every export a bucket keeps one exemplar only, its last."
            yield from self.paragraph(Text(none, "dim"))
        yield Text()

    def _service_order(self, exemplar: Exemplar) -> int:
        services = list(self.colours)
        name = exemplar.labels.get("service_name", "")
        return services.index(name) if name in services else len(services)

    def _exemplar(self, each: Exemplar) -> Text:
        service, method, route, status, le = (
            printable(each.labels.get(name, "?"))
            for name in (
                "service_name",
                "http_request_method",
                "http_route",
                "http_response_status_code",
                "le",
            )
        )
        where = f" {method} {route} {status}: {each.value:.4f} s, in the bucket le={le}"
        return Text.assemble("  ", (service, f"bold {self.colours.get(service, 'default')}"), where)


def _details(span: Span, parent: Span | None) -> Iterator[Text]:
    fields = {name: printable(span.attributes[name]) for name in FIELDS if name in span.attributes}
    said = {
        fields.get("order.outcome"),
        str(span.attributes.get(STATUS)),
        *(each.split(":")[0] for each in failures(span)),
    }
    if fields.get("error.type") in said:
        fields.pop("error.type", None)
    if fields:
        yield Text(" ".join(f"{name}={value}" for name, value in fields.items()), "dim")
    for each in (*failures(span), *astray(span, parent)):
        yield Text(each, "red")


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / MILLI:.1f}"
