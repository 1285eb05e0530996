"""One trace's story out of what the backends hold: spans and log lines in one tree, and why it ended as it did.

What telemetry says is somebody else's text: ``clean`` it before it is shown.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from three_pillar_demo.query.interface import NANO, Exemplar, LogRecord, Span
from three_pillar_demo.terminal import printable

REFUSED = 400
"""From this HTTP status on, an answer is not what the customer wanted."""
STATUS = "http.response.status_code"
LONG = 0.6
"""Seconds; an ordinary purchase takes less."""


@dataclass(frozen=True)
class TraceView:
    """Everything the backends hold about one trace; ``remarks`` say what is missing."""

    trace_id: str
    spans: list[Span]
    lines: list[LogRecord]
    exemplars: list[Exemplar]
    remarks: tuple[str, ...] = ()

    @cached_property
    def below(self) -> dict[str, list[Span]]:
        """The spans that have the same parent, by its id. A trace may have ten thousand: nobody looks through all for each."""
        found = defaultdict[str, list[Span]](list)
        for span in self.spans:
            found[span.parent_id].append(span)
        return dict(found)

    @cached_property
    def said(self) -> dict[str, list[LogRecord]]:
        """The lines of a span, by its id."""
        found = defaultdict[str, list[LogRecord]](list)
        for line in self.lines:
            found[line.fields.get("span_id", "")].append(line)
        return dict(found)


@dataclass(frozen=True)
class Row:
    """A span or line at its place in the tree; ``head`` draws its branch, ``rest`` goes before whatever is below it."""

    node: Span | LogRecord
    parent: Span | None = None
    depth: int = 0
    head: str = ""
    rest: str = ""
    leaf: bool = True


def is_canonical(line: LogRecord) -> bool:
    """Whether ``line`` is the one a service writes at the end of every request."""
    return "http_response_status_code" in line.fields


def rows(story: TraceView) -> Iterator[Row]:
    """Every span and line, parents first, siblings in the order of time; those whose parent is unknown are roots."""
    known = {span.span_id for span in story.spans}
    below: dict[str, list[Span | LogRecord]] = defaultdict(list)
    nodes: list[Span | LogRecord] = [*story.spans, *story.lines]
    for node in nodes:
        owner = node.parent_id if isinstance(node, Span) else node.fields.get("span_id", "")
        below[owner if owner in known else ""].append(node)
    stack = [Row(root) for root in sorted(below.pop("", []), key=_when, reverse=True)]
    while stack:
        row = stack.pop()
        # Taken out, not looked up: ids that repeat, or that make a ring, cannot keep us here.
        children = (
            sorted(below.pop(row.node.span_id, []), key=_when) if isinstance(row.node, Span) else []
        )
        yield Row(row.node, row.parent, row.depth, row.head, row.rest, leaf=not children)
        for child in reversed(children):
            branch, trunk = ("└─ ", "   ") if child is children[-1] else ("├─ ", "│  ")
            parent = row.node if isinstance(row.node, Span) else None
            stack.append(Row(child, parent, row.depth + 1, row.rest + branch, row.rest + trunk))


def why(story: TraceView) -> str:
    """One sentence: what the first service answered, and the deepest failure that spans and log lines tell of."""
    spans = [(row.depth, row.node) for row in rows(story) if isinstance(row.node, Span)]
    if not spans:
        return "Nobody knows: there are no spans."
    root = spans[0][1]
    status, answered = _answer(root, story)
    failed = [each for each in spans if each[1].error or _complaints(each[1], story)]
    bad = root.error or status >= REFUSED
    if failed:
        cause = max(failed, key=lambda each: each[0])[1]
        return f"{answered} {'because' if bad else 'although'} {_reason(cause, root, story)}{_too_late(story)}."
    others = [span for _, span in spans if span.kind == "SERVER" and span is not root]
    if others:
        return f"{answered}{' because' if bad else ';'} {_answer(others[-1], story)[1]}{_longest(root, story)}."
    if calls := [span for _, span in spans if span.kind == "CLIENT"]:
        whom, status_ = (
            _callee(calls[-1], story),
            printable(calls[-1].attributes.get(STATUS, "nothing")),
        )
        return f"{answered}; its call to {whom} was answered {status_}, and who answered it is not on record."
    reasons = [line.fields["reason"] for line in story.lines if "reason" in line.fields]
    return f"{answered}, without calling anybody else" + (
        f': "{printable(reasons[0])}".' if reasons else "."
    )


def _longest(root: Span, story: TraceView) -> str:
    """Who took most of the time of a request that took long, though nothing failed."""
    took = root.end - root.start
    own = [
        (sum(end - start for start, end in own_time(span, story.below.get(span.span_id, []))), span)
        for span in story.spans
    ]
    most, span = max(own, key=lambda each: each[0])
    if took < LONG * NANO or most < took / 2:
        return ""
    return f"; {most / NANO:.1f} of {took / NANO:.1f} s were {printable(span.service)}'s own, in {printable(span.name)}"


def _when(node: Span | LogRecord) -> int:
    return node.start if isinstance(node, Span) else node.time


def _answer(span: Span, story: TraceView) -> tuple[int, str]:
    """The HTTP status (0 when unknown), and a clause like ``checkout answered 500 gateway_timeout``."""
    told = (line.fields for line in story.said.get(span.span_id, []) if is_canonical(line))
    fields = next(told, {})
    code = str(span.attributes.get(STATUS) or fields.get("http_response_status_code", ""))
    words = f"{code} {fields.get('outcome', '')}".strip()
    return (
        int(code) if code.isdecimal() else 0,
        f"{printable(span.service)} answered {printable(words) or 'nothing on record'}",
    )


def _complaints(span: Span, story: TraceView) -> list[str]:
    """What ``span`` logged as an error; not its canonical line, which only repeats the status."""
    own = (line for line in story.said.get(span.span_id, []) if not is_canonical(line))
    return [line.body for line in own if line.severity in {"ERROR", "FATAL"}]


def failures(span: Span) -> list[str]:
    """What ``span`` itself says went wrong, each thing once: its exceptions (``Type: message``), then its status message."""
    # Modules before the type's name say nothing here: httpx2.ReadTimeout is ReadTimeout.
    short = (
        f"{kind.rpartition('.')[2]}{colon}{said}"
        for kind, colon, said in (e.partition(":") for e in span.exceptions)
    )
    return list(dict.fromkeys(printable(said) for said in (*short, span.message) if said))


def own_time(span: Span, below: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """The parts of a span's time that none of its children takes, in nanoseconds since the epoch."""
    at = span.start
    for start, end in sorted((each.start, each.end) for each in below if each is not span):
        if at < start:
            yield at, min(start, span.end)
        at = max(at, end)
        if at >= span.end:
            return
    if at < span.end or not below:
        yield at, span.end


def given_up(story: TraceView) -> dict[str, Span]:
    """The calls that had no answer, by their ids: whoever made them did not wait for one."""
    return {
        span.span_id: span
        for span in story.spans
        if span.kind == "CLIENT" and STATUS not in span.attributes
    }


def astray(span: Span, parent: Span | None) -> list[str]:
    """What is odd about a span that lies beside the call that made it, not within it; nothing for any other."""
    if parent is None or parent.kind != "CLIENT":
        return []
    after, before = (span.start - parent.end) / NANO, (parent.start - span.end) / NANO
    odd = {
        f"begins {after:.1f} s after its caller had ended": after,
        f"ends {before:.1f} s before its caller began": before,
    }
    return [said for said, seconds in odd.items() if seconds > 0]


def _reason(span: Span, root: Span, story: TraceView) -> str:
    told, complaints = failures(span), _complaints(span, story)
    who = "it" if span is root else printable(span.service)
    if span.kind == "CLIENT":
        whose = "its" if span.service == root.service else f"{printable(span.service)}'s"
        how = (
            f": {told[0]}"
            if told
            else f" with {printable(span.attributes[STATUS])}"
            if STATUS in span.attributes
            else ""
        )
        return f"{whose} call to {_callee(span, story)} failed{how}"
    if complaints:
        return f'{who} logged "{printable(complaints[0])}"'
    if told:
        return f"{who} {'raised' if span.exceptions else 'said'} {told[0]}"
    return _answer(span, story)[1] if span is not root else "of something it did not record"


def _callee(call: Span, story: TraceView) -> str:
    """The service that was called, or the address when that service's span is not there."""
    servers = (printable(span.service) for span in story.below.get(call.span_id, []))
    return next(servers, printable(call.attributes.get("url.full", "another service")))


def _too_late(story: TraceView) -> str:
    """The lesson of a slow callee: it did answer, but nobody was listening."""
    calls = given_up(story)
    for span in story.spans:
        call = calls.get(span.parent_id)
        if call and span.end > call.end:
            late = (span.end - call.end) / NANO
            return f"; {_answer(span, story)[1]} {late:.1f} s after {printable(call.service)} had given up"
    return ""
