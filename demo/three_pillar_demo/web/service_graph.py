"""The service graph of the page: the nodes, arrows and rows of a table, with their texts.

All that depends on the service map alone is computed here, once for all visitors. Positions are in
pixels of a drawing that the browser enlarges with the size of the text.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from three_pillar_demo.query.service_map import (
    Participant,
    ParticipantKind,
    ServiceMap,
    service,
)
from three_pillar_demo.web.graph_geometry import Box, Drawing, drawings
from three_pillar_demo.web.graph_labels import place_labels
from three_pillar_demo.web.graph_parts import (
    Call,
    Disagreement,
    Node,
    Row,
    disagreement,
    failed_for_caller_alone,
    node_of,
    row_of,
)
from three_pillar_demo.web.graph_paths import Arrow
from three_pillar_demo.web.graph_shapes import outline

MAX_NODES = 80
"""The number of nodes that are drawn; those with failures and the most calls come first."""
MAX_ARROWS = 200
"""The number of calls that are drawn, in the same order."""
MAX_ROWS = 200
"""The number of calls in the table."""


@dataclass(frozen=True)
class Picture:
    """One drawing of the graph: ``wide`` from left to right, or ``tall`` from top to bottom.

    Attributes:
        name: ``wide`` or ``tall``.
        drawing: The size of the drawing and of its boxes.
        nodes: The nodes, each with its box.
        arrows: The arrows, each with its texts.
    """

    name: str
    drawing: Drawing
    nodes: list[tuple[Box, Node]]
    arrows: list[tuple[Arrow, Row]]

    @property
    def shapes(self) -> dict[ParticipantKind, str]:
        """The outline of each kind of node."""
        size = self.drawing.size
        return {kind: outline(kind, size.width, size.height) for kind in ParticipantKind}


@dataclass(frozen=True)
class ServiceGraph:
    """What the page shows of a service map.

    Attributes:
        pictures: The wide drawing, and a tall one if that is narrow; none without any node.
        rows: All calls, those with failures first; the table has ``MAX_ROWS`` of them.
        not_drawn: What is not drawn, as text; empty if all is.
        disagreements: The calls that have arrived, and have failed for the caller alone.
        has_failures: Whether a share of failures is drawn, at an arrow or in a box.
        notes: What the backend cannot tell.
        seconds: The length of the time range, in seconds.
        age_s: How many seconds before now the time range ends, if that is not now.
        is_shortened: Whether there were too many spans for the whole time range.
    """

    pictures: list[Picture] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    not_drawn: str = ""
    disagreements: list[Disagreement] = field(default_factory=list)
    has_failures: bool = False
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    age_s: float = 0.0
    is_shortened: bool = False

    @property
    def service_names(self) -> list[str]:
        """The names of the services that are drawn."""
        return [
            node.participant.name
            for picture in self.pictures[:1]
            for _, node in picture.nodes
            if node.participant.kind is ParticipantKind.SERVICE
        ]


def service_graph(
    service_map: ServiceMap, start: float, end: float, *, is_drawn: bool = True
) -> ServiceGraph:
    """Return the graph of ``service_map``, which was asked for from ``start`` to ``end``.

    Without ``is_drawn`` it has no pictures, which take most of the time, but all its rows.
    """
    seconds = service_map.seconds
    age_s = end - service_map.end
    calls = [(*ends, counts) for ends, counts in service_map.calls.items() if counts.calls]
    calls.sort(key=_importance, reverse=True)
    participants = _drawn(service_map, calls)
    has_node = set(participants)
    drawn = [call for call in calls if call[0] in has_node and call[1] in has_node][:MAX_ARROWS]
    nodes = [node_of(participant, service_map, seconds) for participant in participants]
    rows = [row_of(call, seconds) for call in drawn]
    total = {service(name) for name in service_map.services}
    total |= {participant for call in calls for participant in call[:2]}
    return ServiceGraph(
        _pictures(nodes, rows) if is_drawn else [],
        [row_of(call, seconds) for call in calls],
        _not_drawn(len(total) - len(participants), len(calls) - len(drawn)),
        [disagreement(call) for call in calls if failed_for_caller_alone(call) >= 1],
        any(node.failed for node in nodes) or any(row.failed for row in rows),
        service_map.notes,
        seconds,
        age_s,
        is_shortened=service_map.start + age_s - start > 1,
    )


def _pictures(nodes: list[Node], rows: list[Row]) -> list[Picture]:
    """Return the drawings of the graph; the same nodes and calls have the same places in them."""
    index = {node.participant: number for number, node in enumerate(nodes)}
    # The numbers of calls change all the time, and must not move the nodes.
    ordered = sorted(rows, key=lambda row: (index[row.caller], index[row.callee]))
    edges = [(index[row.caller], index[row.callee]) for row in ordered]
    pictures = []
    for name, drawing in drawings(len(nodes), edges):
        place_labels(drawing, [(row.rate, row.failure) for row in ordered])
        boxes = list(zip(drawing.boxes, nodes, strict=True))
        arrows = list(zip(drawing.arrows, ordered, strict=True))
        pictures.append(Picture(name, drawing, boxes, arrows))
    return pictures if nodes else []


def _importance(call: Call) -> tuple[bool, float, bool, float]:
    counts = call[2]
    return (bool(counts.not_arrived), counts.not_arrived, bool(counts.failed), counts.calls)


def _drawn(service_map: ServiceMap, calls: Iterable[Call]) -> list[Participant]:
    """Return the participants that are drawn, in a stable order."""
    chosen: dict[Participant, None] = {}
    for caller, callee, _ in calls:
        if len(chosen) + len({caller, callee}.difference(chosen)) <= MAX_NODES:
            chosen |= {caller: None, callee: None}
    for name in sorted(service_map.services):
        if len(chosen) < MAX_NODES:
            chosen.setdefault(service(name))
    return sorted(chosen, key=lambda item: (item.kind.value, item.name, item.system))


def _not_drawn(nodes: int, calls: int) -> str:
    parts = [
        f"{count:,} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((nodes, "node"), (calls, "call"))
        if count > 0
    ]
    return " and ".join(parts)
