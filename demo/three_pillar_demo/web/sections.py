"""The events, links and long texts of a row, as the page shows them when the row is opened."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from three_pillar_demo.query.interface import NANO, Span, SpanEvent, SpanLink
from three_pillar_demo.web import formatting
from three_pillar_demo.web.waterfall_row import Limits, Pairs, Section

MAX_SECTIONS = 20
"""The number of events and links of a span, of each, that are shown."""
STACK_TRACES = ("exception.stacktrace", "exception_stacktrace", "code.stacktrace")
"""The names of the attributes with a stack trace; the second is Loki's name of the first."""
CUT = "\n… the middle is left out …\n"


@dataclass
class SectionBuilder:
    """Makes the sections of all rows of one page, within the limits for long texts.

    ``to_pairs`` turns attributes into the pairs that are shown.
    """

    to_pairs: Callable[[Mapping[str, Any]], Pairs]
    limits: Limits
    shown_characters: int = field(default=0, init=False)
    """The number of characters of all stack traces and bodies so far."""

    def of_span(self, span: Span, trace_start: int) -> Iterator[Section]:
        """Yield the stack trace, the events and the links of ``span``."""
        yield from self.of_attributes(span.attributes)
        for event in span.events[:MAX_SECTIONS]:
            yield self._event(event, trace_start)
        yield from _left_out(len(span.events), "event")
        for link in span.links[:MAX_SECTIONS]:
            yield self._link(link, span.trace_id)
        yield from _left_out(len(span.links), "link")

    def of_attributes(self, attributes: Mapping[str, Any]) -> Iterator[Section]:
        """Yield the stack trace among the attributes of a span or log record, if it has one."""
        stack_trace = self._stack_trace(attributes)
        if stack_trace:
            yield Section("Stack trace", stack_trace=stack_trace)

    def _event(self, event: SpanEvent, trace_start: int) -> Section:
        return Section(
            f"Event {event.name} at {formatting.duration((event.time - trace_start) / NANO)}",
            self.to_pairs(without_stack_trace(event.attributes)),
            stack_trace=self._stack_trace(event.attributes),
        )

    def _link(self, link: SpanLink, own_trace_id: str) -> Section:
        where = "this trace" if link.trace_id == own_trace_id else "another trace"
        return Section(
            f"Link to a span of {where}",
            self.to_pairs(link.attributes),
            trace_id=link.trace_id,
            span_id=link.span_id,
        )

    def _stack_trace(self, attributes: Mapping[str, Any]) -> str:
        found = (str(attributes[name]) for name in STACK_TRACES if attributes.get(name))
        return self.within_limits(next(found, "").strip("\n"))

    def within_limits(self, text: str) -> str:
        """Return ``text`` without its middle if it is too long; "" if there is no room left.

        Of a stack trace, Java has the exception at the beginning, Python at the end.
        """
        room = self.limits.all_texts - self.shown_characters
        limit = min(self.limits.text, room)
        if len(text) > limit:
            half = max(0, limit - len(CUT)) // 2
            text = f"{text[:half]}{CUT}{text[-half:]}" if half else ""
        self.shown_characters += len(text)
        return text


def without_stack_trace(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``attributes`` without those that are shown as a stack trace."""
    return {name: value for name, value in attributes.items() if name not in STACK_TRACES}


def _left_out(count: int, noun: str) -> Iterator[Section]:
    more = count - MAX_SECTIONS
    if more > 0:
        yield Section(f"{more:,} more {noun}{'' if more == 1 else 's'}, not shown")
