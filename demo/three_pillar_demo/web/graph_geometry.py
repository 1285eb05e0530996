"""Geometry of the service graph: boxes, arrows and their labels, without two that overlap."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from three_pillar_demo.web.layered_layout import Edge, Layers, layers_of, positions

WAYPOINT_HEIGHT = 8.0
"""The height that an arrow takes up in a layer that it crosses."""
MARGIN = 10.0
LOOP_HEIGHT = 26.0
"""The height of the arrow from a box to itself, above the box."""
PORT_DISTANCE = 9.0
"""The distance of two arrows at the same side of a box, unless there are too many."""
HEAD_LENGTH = 8.0
HEAD_WIDTH = 4.0
CHARACTER_WIDTH = 6.3
"""The width of a character of a label, on average."""
LINE_HEIGHT = 15.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Size:
    """The size of each box, and the distances between boxes.

    Attributes:
        width: The width of a box.
        height: The height of a box, which has two lines of text.
        row_gap: The distance of two boxes of a layer.
        layer_gap: The distance of two layers, which has room for a label.
        is_compact: Whether only arrows with a failure have a label.
    """

    width: float = 168.0
    height: float = 46.0
    row_gap: float = 20.0
    layer_gap: float = 116.0
    is_compact: bool = False


COMPACT = Size(150.0, 36.0, 9.0, 84.0, is_compact=True)
MAX_LARGE_BOXES = 24
"""The number of nodes of a graph that is not drawn compactly."""


@dataclass(frozen=True)
class Box:
    """The upper left corner of the rectangle of a node."""

    x: float
    y: float


@dataclass
class Arrow:
    """One arrow: the ``d`` attributes of its line and its head, and where a label could be.

    ``label`` is the middle of the label, or None if there is no free place for it.
    """

    line: str
    head: str
    places: Sequence[Point] = ()
    label: Point | None = None


@dataclass
class Drawing:
    """The boxes and arrows, and the size of it all."""

    size: Size = Size()
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0

    def place_labels(self, texts: Sequence[tuple[str, str]]) -> None:
        """Give each arrow a place for its label, above and below the line, as long as one is free.

        ``texts`` has the two lines of each label, in the order of the arrows.
        """
        taken = [
            (box.x, box.y - 2, box.x + self.size.width, box.y + self.size.height + 2)
            for box in self.boxes
        ]
        for arrow, lines in zip(self.arrows, texts, strict=True):
            if self.size.is_compact and not lines[1]:
                continue
            half = max(len(line) for line in lines) * CHARACTER_WIDTH / 2
            below = LINE_HEIGHT if lines[1] else 0.0
            for x, y in arrow.places:
                area = (x - half, y - LINE_HEIGHT, x + half, y + below + 2)
                if area[1] >= 0 and not any(_overlap(area, other) for other in taken):
                    taken.append(area)
                    arrow.label = (x, y)
                    break


def draw(count: int, edges: Sequence[Edge]) -> Drawing:
    """Return the drawing of the nodes 0 to ``count`` - 1 with an arrow for each edge."""
    size = Size() if count <= MAX_LARGE_BOXES else COMPACT
    layers = layers_of(count, edges)
    loops = {caller for caller, callee in edges if caller == callee}
    heights = {
        node: size.height + (LOOP_HEIGHT if node in loops else 0.0)
        if node < count
        else WAYPOINT_HEIGHT
        for row in layers.rows
        for node in row
    }
    middle = positions(layers, edges, heights, size.row_gap)
    top = min((middle[node] - heights[node] / 2 for node in middle), default=0.0) - MARGIN
    bottom = max((middle[node] + heights[node] / 2 for node in middle), default=0.0) + MARGIN
    # The loop of a box is above it.
    corners = {
        node: (
            MARGIN + layer * (size.width + size.layer_gap),
            middle[node] - top + (heights[node] / 2 - size.height if node < count else 0.0),
        )
        for layer, row in enumerate(layers.rows)
        for node in row
    }
    boxes = [Box(*corners[node]) for node in range(count)]
    geometry = _Geometry(size, boxes, corners, layers)
    geometry.assign_ports(edges)
    width = 2 * MARGIN + len(layers.rows) * (size.width + size.layer_gap) - size.layer_gap
    return Drawing(size, boxes, [geometry.arrow(edge) for edge in edges], width, bottom - top)


@dataclass
class _Geometry:
    """What the points of an arrow depend on.

    Attributes:
        size: The size of the boxes.
        boxes: The boxes of the nodes.
        corners: The upper left corner of each box, and the left end of each waypoint.
        layers: The layers with the waypoints.
        ports: How far from the middle of a side an arrow begins or ends, by node and edge.
    """

    size: Size
    boxes: Sequence[Box]
    corners: Mapping[int, Point]
    layers: Layers
    ports: dict[tuple[int, Edge], float] = field(default_factory=dict)

    def assign_ports(self, edges: Sequence[Edge]) -> None:
        """Distribute the arrows at each side of a box in the order of their other ends."""
        sides = defaultdict[tuple[int, bool], list[tuple[float, Edge]]](list)
        for edge in edges:
            left, right = self._ends(edge)
            between = self.layers.waypoints.get(edge) or [left, right]
            if left != right:
                sides[left, True].append((self.corners[[*between, right][0]][1], edge))
                sides[right, False].append((self.corners[between[-1]][1], edge))
        for (node, _), ends in sides.items():
            room = self.size.height - 2 * PORT_DISTANCE
            distance = min(PORT_DISTANCE, room / max(1, len(ends) - 1))
            for number, (_, edge) in enumerate(sorted(ends)):
                self.ports[node, edge] = (number - (len(ends) - 1) / 2) * distance

    def arrow(self, edge: Edge) -> Arrow:
        """Return the arrow of ``edge``; one that closes a cycle leads from right to left."""
        if edge[0] == edge[1]:
            return _loop(self.boxes[edge[0]], self.size)
        left, right = self._ends(edge)
        start = (self.boxes[left].x + self.size.width, self._port(left, edge))
        points = [start]
        for waypoint in self.layers.waypoints.get(edge, []):
            x, y = self.corners[waypoint]
            points += [(x, y), (x + self.size.width, y)]
        points.append((self.boxes[right].x, self._port(right, edge)))
        return _arrow(points, edge in self.layers.reversed_edges)

    def _ends(self, edge: Edge) -> Edge:
        return edge[::-1] if edge in self.layers.reversed_edges else edge

    def _port(self, node: int, edge: Edge) -> float:
        return self.boxes[node].y + self.size.height / 2 + self.ports[node, edge]


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _arrow(corners: list[Point], is_reversed: bool) -> Arrow:  # noqa: FBT001  (a fact, no option)
    """Return the arrow along ``corners``; it leads from right to left if it is reversed."""
    places = list(_label_places(corners))
    points = corners[::-1] if is_reversed else corners
    direction = -1.0 if is_reversed else 1.0
    tip_x, tip_y = points[-1]
    # The line ends within the head, so that its end is not seen beside the tip.
    points[-1] = (tip_x - direction * HEAD_LENGTH / 2, tip_y)
    line = f"M{points[0][0]:.0f} {points[0][1]:.1f}"
    for number, ((from_x, from_y), (x, y)) in enumerate(pairwise(points)):
        if number % 2 == 0:
            bend = (from_x + x) / 2
            line += f"C{bend:.0f} {from_y:.1f} {bend:.0f} {y:.1f} {x:.0f} {y:.1f}"
        else:
            line += f"H{x:.0f}"
    return Arrow(line, _head(tip_x - direction * HEAD_LENGTH, tip_y, tip_x), places)


def _label_places(corners: Sequence[Point]) -> Iterator[Point]:
    """Yield where the label of an arrow could be: in the gaps, the middle of each first."""
    gaps = list(zip(corners[::2], corners[1::2], strict=True))
    for (from_x, from_y), (x, y) in (gaps[-1], *gaps[:-1]):
        yield (from_x + x) / 2, (from_y + y) / 2
    for (from_x, from_y), (x, y) in zip(corners[1:-1:2], corners[2:-1:2], strict=True):
        yield (from_x + x) / 2, (from_y + y) / 2


def _loop(box: Box, size: Size) -> Arrow:
    """Return the arrow from a box to itself: out at its upper side, and back to it."""
    left = box.x + size.width - 64
    right = left + 40
    top = box.y - LOOP_HEIGHT + 6
    line = f"M{left:.0f} {box.y:.1f}C{left:.0f} {top:.1f} {right:.0f} {top:.1f} "
    line += f"{right:.0f} {box.y - HEAD_LENGTH / 2:.1f}"
    base = f"{box.y - HEAD_LENGTH:.1f}"
    head = (
        f"M{right - HEAD_WIDTH:.0f} {base}L{right:.0f} {box.y:.1f}L{right + HEAD_WIDTH:.0f} {base}z"
    )
    return Arrow(line, head, [(left - 46, box.y - 6)])


def _head(base_x: float, y: float, tip_x: float) -> str:
    """Return the path of a head that points to the left or to the right."""
    upper = f"{base_x:.0f} {y - HEAD_WIDTH:.1f}"
    return f"M{upper}L{tip_x:.0f} {y:.1f}L{base_x:.0f} {y + HEAD_WIDTH:.1f}z"
