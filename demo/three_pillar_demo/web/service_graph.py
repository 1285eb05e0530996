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
from three_pillar_demo.web.graph_geometry import Arrow, Drawing, draw
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
from three_pillar_demo.web.graph_shapes import outline

MAX_NODES = 80
"""The number of nodes that are drawn; those with failures and the most calls come first."""
MAX_ARROWS = 200
"""The number of calls that are drawn, in the same order."""
MAX_ROWS = 200
"""The number of calls in the table."""


@dataclass(frozen=True)
class ServiceGraph:
    """What the page shows of a service map.

    Attributes:
        drawing: The arrows and the size of the drawing; ``rows`` has the texts of each arrow at
            the same index.
        nodes: The nodes that are drawn.
        rows: All calls, those with failures first; the table has ``MAX_ROWS`` of them.
        service_count: The number of all services.
        not_drawn: What is not drawn, as text; empty if all is.
        disagreements: The calls that have arrived, and have failed for the caller alone.
        notes: What the backend cannot tell.
        seconds: The length of the time range, in seconds.
        age_s: How many seconds before now the time range ends, if that is not now.
        is_shortened: Whether there were too many spans for the whole time range.
    """

    drawing: Drawing
    nodes: list[Node] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    service_count: int = 0
    not_drawn: str = ""
    disagreements: list[Disagreement] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    age_s: float = 0.0
    is_shortened: bool = False

    @property
    def shapes(self) -> dict[ParticipantKind, str]:
        """The outline of each kind of node."""
        size = self.drawing.size
        return {kind: outline(kind, size.width, size.height) for kind in ParticipantKind}

    @property
    def arrows(self) -> list[tuple[Arrow, Row]]:
        """The arrows that are drawn, each with its texts."""
        return list(zip(self.drawing.arrows, self.rows, strict=False))


def service_graph(service_map: ServiceMap, start: float, end: float) -> ServiceGraph:
    """Return the graph of ``service_map``, which was asked for from ``start`` to ``end``."""
    seconds = max(service_map.end - service_map.start, 1e-9)
    calls = [(*ends, counts) for ends, counts in service_map.calls.items() if counts.calls]
    calls.sort(key=_importance, reverse=True)
    participants = _drawn(service_map, calls)
    index = {participant: number for number, participant in enumerate(participants)}
    drawn = [call for call in calls if call[0] in index and call[1] in index][:MAX_ARROWS]
    drawing = draw(len(index), [(index[call[0]], index[call[1]]) for call in drawn])
    drawn_set = {call[:2] for call in drawn}
    rest = [call for call in calls if call[:2] not in drawn_set]
    rows = [row_of(call, seconds) for call in [*drawn, *rest]]
    drawing.place_labels([(row.rate, row.failure) for row in rows[: len(drawn)]])
    total = {service(name) for name in service_map.services}
    total |= {end for call in calls for end in call[:2]}
    return ServiceGraph(
        drawing,
        [
            node_of(box, participant, service_map, seconds)
            for box, participant in zip(drawing.boxes, participants, strict=True)
        ],
        rows,
        len(service_map.services),
        _not_drawn(len(total) - len(participants), len(rest)),
        [disagreement(call) for call in calls if failed_for_caller_alone(call) >= 1],
        service_map.notes,
        seconds,
        end - service_map.end,
        service_map.start - (start - (end - service_map.end)) > 1,
    )


def _importance(call: Call) -> tuple[bool, float, bool, float]:
    counts = call[2]
    return (bool(counts.not_arrived), counts.not_arrived, bool(counts.failed), counts.calls)


def _drawn(service_map: ServiceMap, calls: Iterable[Call]) -> list[Participant]:
    """Return the participants that are drawn, in a stable order."""
    chosen: dict[Participant, None] = {}
    for caller, callee, _ in calls:
        if len({*chosen, caller, callee}) <= MAX_NODES:
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
