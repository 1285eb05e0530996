"""The requests beside one request, with what the spans of each say, for a comparison."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_TREE_SPANS = 100
"""The number of spans of a request, itself and those below it, whose attributes are compared.

Of a larger request only its own span is compared. Tempo returns no more spans of one trace.
"""
MAX_VALUE = 200
"""The number of characters of an attribute's value that is compared; a longer one is left out."""
RESOURCE_NAMES = (
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
    "host.name",
    "k8s.pod.name",
    "k8s.node.name",
    "cloud.availability_zone",
)
"""The resource attributes that are compared, those first that say most about a cause."""


class Fact(NamedTuple):
    """What a span of ``service`` says: the attribute ``name`` with ``value`` as text."""

    service: str
    name: str
    value: str


Facts = frozenset[Fact]
"""What the span of one request, and the spans below it, say."""


@dataclass(frozen=True)
class PeerQuery:
    """Which peers of a request are wanted: requests of one service with the same name and kind.

    Attributes:
        trace_id: The trace of the request itself, which is no peer.
        service: The name of the service.
        name: The name of the span.
        kind: The kind of the span: SERVER, CONSUMER or another one.
        time: The start of the request, in nanoseconds since the epoch.
        within: How long before and after ``time`` a peer may start, in nanoseconds.
        since: The earliest time at which a peer may start, in nanoseconds since the epoch.
        until: The latest time, the same.
        failed: Whether the peers have status ERROR, or all have another status.
        names: The names of the attributes that are wanted.
        whole_tree: Whether the spans below the request are wanted, too.
        min_duration: The shortest duration of a peer, in nanoseconds.
        max_duration: The duration that a peer stays below, in nanoseconds.
        limit: The number of peers, those nearest to ``time``.
    """

    trace_id: str
    service: str
    name: str
    kind: str
    time: int
    within: int
    failed: bool
    names: tuple[str, ...]
    whole_tree: bool = True
    min_duration: int = 0
    max_duration: int = 2**63 - 1
    limit: int = 100
    since: int = 0
    until: int = 2**63 - 1

    @property
    def start(self) -> int:
        """The earliest start of a peer, in nanoseconds since the epoch."""
        return max(self.time - self.within, self.since)

    @property
    def end(self) -> int:
        """The latest start of a peer, in nanoseconds since the epoch."""
        return min(self.time + self.within, self.until)


def facts_of(
    service: str,
    attributes: Mapping[str, Any],
    resource: Mapping[str, Any],
    names: Collection[str],
) -> Iterator[Fact]:
    """Yield what one span says, as far as ``names`` has it: attributes with one short value."""
    for source in (attributes, resource):
        for name, value in source.items():
            text = value_text(value)
            if text and name in names and (source is attributes or name in RESOURCE_NAMES):
                yield Fact(service, name, text)


def value_text(value: object) -> str:
    """Return a value as text, the same for each backend; "" for a list, a map or a long text."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return f"{value:.15g}"
        case str() if len(value) <= MAX_VALUE:
            return value
    return ""
