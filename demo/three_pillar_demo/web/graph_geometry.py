"""Geometry of the service graph: boxes without two that overlap, and arrows between them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from three_pillar_demo.web.graph_paths import LOOP_HEIGHT, Arrow, PathWriter, Point
from three_pillar_demo.web.layered_layout import Edge, Layers, layers_of, positions

WAYPOINT_HEIGHT = 8.0
"""The height that an arrow takes up in a layer that it crosses."""
MARGIN = 8.0
PORT_DISTANCE = 9.0
"""The distance of two arrows at the same side of a box, unless there are too many."""


@dataclass(frozen=True)
class Size:
    """The size of each box, and the distances between boxes.

    Attributes:
        length: The length of a box along the layers.
        breadth: The length of a box across the layers.
        row_gap: The distance of two boxes of a layer.
        layer_gap: The distance of two layers, which has room for a label.
        is_compact: Whether only arrows with a failure have a label.
        is_tall: Whether the layers are from top to bottom, not from left to right.
    """

    length: float = 148.0
    breadth: float = 46.0
    row_gap: float = 20.0
    layer_gap: float = 124.0
    is_compact: bool = False
    is_tall: bool = False

    @property
    def width(self) -> float:
        """The width of a box."""
        return self.breadth if self.is_tall else self.length

    @property
    def height(self) -> float:
        """The height of a box, which has two lines of text."""
        return self.length if self.is_tall else self.breadth


WIDE = Size()
COMPACT = Size(144.0, 36.0, 9.0, 84.0, is_compact=True)
TALL = Size(46.0, 150.0, 16.0, 52.0, is_tall=True)
SLIM = Size(46.0, 102.0, 9.0, 52.0, is_tall=True)
MIN_LENGTH = 124.0
"""The length of a box along the layers, at the least, if the drawing gets as narrow as a window."""
MAX_WIDTH = 1200.0
"""The width that is visible in a window of 1,280 pixels."""
MAX_SLIM_WIDTH = 350.0
"""The width of a drawing that a phone shows as a whole, at the most, in pixels."""
MAX_LARGE_BOXES = 24
"""The number of nodes of a graph that is not drawn compactly."""


@dataclass(frozen=True)
class Box:
    """The upper left corner of the rectangle of a node."""

    x: float
    y: float


@dataclass
class Drawing:
    """The boxes and arrows, and the size of it all."""

    size: Size = Size()
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0

    @property
    def is_slim(self) -> bool:
        """Whether a phone shows the whole width."""
        return self.width <= MAX_SLIM_WIDTH


def drawings(count: int, edges: Sequence[Edge]) -> list[tuple[str, Drawing]]:
    """Return the drawings of a graph: ``wide``, and ``tall`` if a phone shows that as a whole.

    The nodes are 0 to ``count`` - 1, and each edge has an arrow.
    """
    layers = layers_of(count, edges)
    found = [("wide", draw(count, edges, layers=layers))]
    for size in (TALL, SLIM):
        # Positions and arrows of a large graph take most of the time, and it is never slim.
        if _least_width(layers, _heights(layers, count, edges, size), size) > MAX_SLIM_WIDTH:
            continue
        drawing = draw(count, edges, size, layers)
        if drawing.is_slim:
            found.append(("tall", drawing))
            break
    return found


def draw(
    count: int, edges: Sequence[Edge], size: Size | None = None, layers: Layers | None = None
) -> Drawing:
    """Return the drawing of the nodes 0 to ``count`` - 1 with an arrow for each edge.

    Without a ``size``, the drawing is from left to right, and compact if there are many nodes.
    ``layers`` are those of the graph, if they are known already.
    """
    size = size or (WIDE if count <= MAX_LARGE_BOXES else COMPACT)
    layers = layers or layers_of(count, edges)
    size = _fitted(size, len(layers.rows))
    heights = _heights(layers, count, edges, size)
    middle = positions(layers, edges, heights, size.row_gap)
    first = min((middle[node] - heights[node] / 2 for node in middle), default=0.0) - MARGIN
    last = max((middle[node] + heights[node] / 2 for node in middle), default=0.0) + MARGIN
    # The loop of a box is before it.
    corners = {
        node: (
            MARGIN + layer * (size.length + size.layer_gap),
            middle[node] - first + (heights[node] / 2 - size.breadth if node < count else 0.0),
        )
        for layer, row in enumerate(layers.rows)
        for node in row
    }
    geometry = _Geometry(size, corners, layers)
    geometry.assign_ports(edges)
    on_paper = geometry.writer.on_paper
    length = 2 * MARGIN + len(layers.rows) * (size.length + size.layer_gap) - size.layer_gap
    boxes = [Box(*on_paper(corners[node])) for node in range(count)]
    arrows = [geometry.arrow(edge) for edge in edges]
    return Drawing(size, boxes, arrows, *on_paper((length, last - first)))


def _heights(layers: Layers, count: int, edges: Sequence[Edge], size: Size) -> Mapping[int, float]:
    """Return the length of each node and waypoint across the layers."""
    loops = {caller for caller, callee in edges if caller == callee}
    return {
        node: size.breadth + (LOOP_HEIGHT if node in loops else 0.0)
        if node < count
        else WAYPOINT_HEIGHT
        for row in layers.rows
        for node in row
    }


def _least_width(layers: Layers, heights: Mapping[int, float], size: Size) -> float:
    """Return the width across the layers that the fullest layer needs at the least."""
    rows = (
        sum(heights[node] for node in row) + size.row_gap * (len(row) - 1)
        for row in layers.rows
        if row
    )
    return max(rows, default=0.0) + 2 * MARGIN


@dataclass
class _Geometry:
    """What the points of an arrow depend on.

    Attributes:
        size: The size of the boxes.
        corners: The first corner of each box, and the beginning of each waypoint.
        layers: The layers with the waypoints.
        ports: How far from the middle of a side an arrow begins or ends, by node and edge.
        crowds: How many more arrows there are at the box on the left of an edge than at the other.
    """

    size: Size
    corners: Mapping[int, Point]
    layers: Layers
    ports: dict[tuple[int, Edge], float] = field(default_factory=dict)
    crowds: dict[Edge, int] = field(default_factory=dict)

    def assign_ports(self, edges: Sequence[Edge]) -> None:
        """Distribute the arrows at each side of a box in the order of their other ends."""
        sides = defaultdict[tuple[int, bool], list[tuple[float, Edge]]](list)
        for edge in edges:
            left, right = self._ends(edge)
            between = self.layers.waypoints.get(edge) or [left, right]
            if left != right:
                sides[left, True].append((self.corners[[*between, right][0]][1], edge))
                sides[right, False].append((self.corners[between[-1]][1], edge))
        for (node, is_last), ends in sides.items():
            for _, edge in ends:
                self.crowds[edge] = self.crowds.get(edge, 0) + (
                    len(ends) if is_last else -len(ends)
                )
            room = self.size.breadth - 2 * PORT_DISTANCE
            distance = min(PORT_DISTANCE, room / max(1, len(ends) - 1))
            for number, (_, edge) in enumerate(sorted(ends)):
                self.ports[node, edge] = (number - (len(ends) - 1) / 2) * distance

    @property
    def writer(self) -> PathWriter:
        """The writer of the paths of this drawing."""
        return PathWriter(self.size.is_tall)

    def arrow(self, edge: Edge) -> Arrow:
        """Return the arrow of ``edge``; one that closes a cycle leads to an earlier layer."""
        if edge[0] == edge[1]:
            return self.writer.loop(self.corners[edge[0]], self.size.length)
        left, right = self._ends(edge)
        points = [(self.corners[left][0] + self.size.length, self._port(left, edge))]
        for waypoint in self.layers.waypoints.get(edge, []):
            along, across = self.corners[waypoint]
            points += [(along, across), (along + self.size.length, across)]
        points.append((self.corners[right][0], self._port(right, edge)))
        is_reversed = edge in self.layers.reversed_edges
        crowd = self.crowds[edge]
        return self.writer.arrow(points, is_reversed=is_reversed, lean=(crowd > 0) - (crowd < 0))

    def _ends(self, edge: Edge) -> Edge:
        return edge[::-1] if edge in self.layers.reversed_edges else edge

    def _port(self, node: int, edge: Edge) -> float:
        return self.corners[node][1] + self.size.breadth / 2 + self.ports[node, edge]


def _fitted(size: Size, layer_count: int) -> Size:
    """Return ``size`` with shorter boxes, if then all layers are visible at once."""
    gaps = (layer_count - 1) * size.layer_gap
    length = (MAX_WIDTH - 2 * MARGIN - gaps) / layer_count
    is_short_enough = size.is_tall or length >= size.length
    return size if is_short_enough or length < MIN_LENGTH else replace(size, length=length)
