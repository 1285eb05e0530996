"""Geometry of one request: its spans and log lines as rows, each at its place in the request's time. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from three_pillar_demo.query.interface import NANO, LogRecord, Span
from three_pillar_demo.trace_view import explanation, timing, tree, view
from three_pillar_demo.web import chart, formatting

FULL, LEAST, HALF_A_MILLI = 1000.0, 2.0, 500_000
"""The whole width, and what even the shortest bar gets of it; nanoseconds that even the shortest request is drawn over."""
DEEPEST, FIELDS = 12, 40
"""Levels that are still indented; attributes that are shown of a span or line, at most."""

Bar = tuple[float, float]
"""Where a piece of a bar begins, and its width."""


@dataclass(frozen=True)
class Row:
    """A span, or a log line where ``whole`` is None. Times are in seconds, ``at`` after the request's start.

    ``level`` is a line's severity or a span's kind; ``own`` are the parts in which nobody was called, ``late`` is the one
    after the caller had given up; ``told`` is what the span itself says went wrong.
    """

    key: str
    at: float
    depth: int
    service: str
    text: str
    level: str
    error: bool
    fields: list[tuple[str, str]]
    x: float
    whole: Bar | None = None
    own: list[Bar] = field(default_factory=list)
    late: Bar | None = None
    too_late: float = 0.0
    took: float = 0.0
    status: str = ""
    told: list[str] = field(default_factory=list)


def extent(told: view.TraceView) -> tuple[int, int]:
    """When a request begins, and when the last of it ends; the latter is the later one."""
    begin = min(
        [each.start for each in told.spans] or [each.time for each in told.logs], default=0
    )
    return begin, max(
        [
            begin + HALF_A_MILLI,
            *(each.end for each in told.spans),
            *(each.time for each in told.logs),
        ]
    )


def rows(told: view.TraceView) -> Iterator[Row]:
    """Every span and line in the order of ``demo follow``, parents first, siblings in time."""
    begin, end = extent(told)
    calls = timing.unanswered_calls(told)

    def bar(start: int, end_: int) -> Bar:
        x = min(max((start - begin) * FULL / (end - begin), 0.0), FULL - LEAST)
        return x, max(min((end_ - start) * FULL / (end - begin), FULL - x), LEAST)

    for number, row in enumerate(tree.tree_rows(told)):
        node, depth = row.node, min(row.depth, DEEPEST)
        about = node.attributes if isinstance(node, Span) else node.fields
        fields = sorted((name, str(value)) for name, value in about.items())[:FIELDS]
        if isinstance(node, LogRecord):
            key, bad, at = (
                f"l{node.time}-{number}",
                node.severity in {"ERROR", "FATAL"},
                (node.time - begin) / NANO,
            )
            yield Row(
                key,
                at,
                depth,
                node.service,
                node.body,
                node.severity,
                bad,
                fields,
                bar(node.time, node.time)[0],
            )
            continue
        call = calls.get(node.parent_id)
        since = max(node.start, call.end) if call and call.end < node.end else None
        whole = bar(node.start, node.end)
        key, at = f"s{number}-{node.span_id}", (node.start - begin) / NANO
        yield Row(
            *(
                key,
                at,
                depth,
                node.service,
                node.name,
                node.kind.lower(),
                node.error,
                fields,
                whole[0],
            ),
            whole=whole,
            own=[bar(*part) for part in timing.own_time(node, told.children_by_parent.get(node.span_id, []))],
            late=None if since is None else bar(since, node.end),
            too_late=0.0 if since is None else (node.end - since) / NANO,
            took=(node.end - node.start) / NANO,
            status=str(node.attributes.get(view.STATUS_CODE, "")),
            told=[*explanation.failures(node), *timing.outside_parent(node, row.parent)],
        )


def ticks(seconds: float) -> list[tuple[float, str]]:
    """Round moments of a request, from its start, in thousandths of the width."""
    step = chart.ceiling(seconds)[1]
    return [
        (FULL * at * step / seconds, formatting.round_one(formatting.seconds(at * step)))
        for at in range(int(seconds / step * 0.95) + 1)
    ]
