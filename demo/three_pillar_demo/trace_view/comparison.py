"""Compares a failed request with the successful ones beside it: what has it that they have not?

A request that was slow, but did not fail, is compared with faster ones in the same way.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from three_pillar_demo.query.interface import NANO, Backends, Span
from three_pillar_demo.query.peers import (
    MAX_TREE_SPANS,
    RESOURCE_NAMES,
    Facts,
    PeerQuery,
    facts_of,
)
from three_pillar_demo.trace_view.differences import Difference, differences
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView

WITHIN_S = 900
"""How long before and after a request the others are that it is compared with, in seconds."""
MAX_GROUP = 100
"""The number of requests like this one, itself included, that are compared."""
MAX_OTHERS = 300
"""The number of requests of the other kind that are compared."""
MIN_GROUP = 3
"""The number of requests like this one without which nothing is compared."""
MIN_OTHERS = 10
"""The same for the other requests."""
MAX_NAMES = 60
"""The number of attribute names that are compared, those of the request's own span first."""
SLOW_FRACTION = 0.5
"""The part of a request's duration from which on another request counts as slow, too."""
NO_LIMITS = (0, 2**63 - 1)
"""The earliest and the latest time, in nanoseconds, between which peers are not limited."""
REQUEST_KINDS = ("SERVER", "CONSUMER")
OF_OUTCOME = re.compile(
    r"(^|[._])(error|errors|exception|outcome|result|status)([._]|$)|^http\.response[._]"
)
"""Names of attributes that say how a request ended, which is not why."""
OF_CONNECTION = re.compile(r"^(client|(net|network)(\.sock)?\.peer)\.port$")
"""Names of attributes with the port of a peer, which a machine chooses for each connection."""


@dataclass(frozen=True)
class Comparison:
    """What a request has in common with those like it, and not with the others.

    Attributes:
        request: The span of the request that is compared.
        group_size: The number of requests like it, itself included.
        others_size: The number of the others.
        differences: What is more frequent in the group; empty if there are too few to compare.
        whole_tree: Whether the spans below the request are compared, too.
        breaks: The nearest times before and after the request, in seconds since the epoch, beyond
            which nothing is compared, as far as there are such times within ``WITHIN_S``.
    """

    request: Span
    group_size: int
    others_size: int
    differences: list[Difference]
    whole_tree: bool = True
    breaks: tuple[float, ...] = ()

    @property
    def is_possible(self) -> bool:
        """Whether there are enough requests to compare."""
        return self.group_size >= MIN_GROUP and self.others_size >= MIN_OTHERS

    @property
    def is_worth_showing(self) -> bool:
        """Whether the request failed, or was slow while most were not, with a difference."""
        if self.request.error:
            return True
        return self.is_possible and bool(self.differences) and self.group_size <= self.others_size


def _is_cause(name: str) -> bool:
    """Return whether an attribute of this name may be why a request failed."""
    return not (name in RESOURCE_NAMES or OF_OUTCOME.search(name) or OF_CONNECTION.search(name))


def compared_request(view: TraceView) -> Span | None:
    """Return the request of a trace that is compared: the first failed one, or else the first one.

    A request is a SERVER or CONSUMER span, or one without a parent in the trace. The first one is
    that nearest to the root.
    """
    requests = [
        row.node
        for row in sorted(tree_rows(view), key=lambda row: row.depth)
        if isinstance(row.node, Span)
        if row.parent is None or row.node.kind in REQUEST_KINDS
    ]
    failed = [request for request in requests if request.error]
    return next(iter([*failed, *requests]), None)


async def compare(
    backends: Backends, view: TraceView, breaks: Sequence[float] = ()
) -> Comparison | None:
    """Compare a request with its peers; return None if the trace has no span.

    ``breaks`` are times, in seconds since the epoch, at which the circumstances have changed:
    only requests between the same two of them are compared.

    Raises:
        BackendError: The trace store cannot be queried.
    """
    request = compared_request(view)
    if request is None:
        return None
    tree = list(_tree(view, request))
    whole_tree = len(tree) <= MAX_TREE_SPANS
    spans = tree if whole_tree else [request]
    names = _names(spans)
    duration = max(request.end - request.start, 0)
    threshold = 0 if request.error else int(duration * SLOW_FRACTION)
    since, until = _limits(request, breaks)
    of_group = PeerQuery(
        request.trace_id,
        request.service,
        request.name,
        request.kind,
        time=request.start,
        within=WITHIN_S * NANO,
        failed=request.error,
        names=names,
        whole_tree=whole_tree,
        min_duration=threshold,
        limit=MAX_GROUP - 1,
        since=since,
        until=until,
    )
    of_others = replace(of_group, failed=False, min_duration=0, limit=MAX_OTHERS)
    if not request.error:
        of_others = replace(of_others, max_duration=threshold)
    group, others = await asyncio.gather(
        backends.peer_facts(of_group), backends.peer_facts(of_others)
    )
    own = _facts(spans, names)
    nearest = tuple(limit / NANO for limit in (since, until) if limit not in NO_LIMITS)
    comparison = Comparison(request, len(group) + 1, len(others), [], whole_tree, nearest)
    if not comparison.is_possible:
        return comparison
    # The arithmetic takes some milliseconds, which would hold up other requests.
    found = await asyncio.to_thread(differences, own, [own, *group], others)
    return replace(comparison, differences=found)


def _limits(request: Span, breaks: Sequence[float]) -> tuple[int, int]:
    """Return the nearest of ``breaks`` before and after the start of ``request``, in nanoseconds.

    A break that is further away than ``WITHIN_S`` is none; then ``NO_LIMITS`` has the value.
    """
    since, until = NO_LIMITS
    for moment in breaks:
        time = int(moment * NANO)
        if request.start - WITHIN_S * NANO < time <= request.start:
            since = max(since, time)
        elif request.start < time < request.start + WITHIN_S * NANO:
            until = min(until, time)
    return since, until


def _tree(view: TraceView, request: Span) -> Iterator[Span]:
    """Yield ``request`` and the spans below it."""
    depth = -1
    for row in tree_rows(view):
        if row.node is request:
            depth = row.depth
        elif row.depth <= depth:
            return
        if depth >= 0 and isinstance(row.node, Span):
            yield row.node


def _names(spans: list[Span]) -> tuple[str, ...]:
    """Return the names of the attributes to compare, those of the resource included."""
    names = dict.fromkeys(name for span in spans for name in span.attributes)
    of_cause = [name for name in names if _is_cause(name)]
    return (*of_cause[:MAX_NAMES], *RESOURCE_NAMES)


def _facts(spans: list[Span], names: tuple[str, ...]) -> Facts:
    return frozenset(
        fact
        for span in spans
        for fact in facts_of(span.service, span.attributes, span.resource, names)
    )
