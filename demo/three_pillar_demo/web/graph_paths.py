"""The paths of the arrows of the service graph, and where their labels could be.

Points have a position along the layers and one across them. A drawing from left to right has the
first one on its horizontal axis, a tall one, from top to bottom, on its vertical axis.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

LOOP_HEIGHT = 26.0
"""The room of the arrow from a box to itself, beside the box."""
HEAD_LENGTH = 8.0
HEAD_WIDTH = 4.0
MIDDLE = 0.5
LEAN = 0.14
"""How far from the middle of a way, as a part of it, a label may be."""

POINTS_PER_PART = 16
"""The number of points of a line, for each part of it, with which labels are compared."""

Point = tuple[float, float]
"""A position along the layers, and one across them."""


@dataclass
class Arrow:
    """One arrow: the ``d`` attributes of its line and its head, and where a label could be.

    Attributes:
        line: The path of its line.
        head: The path of its head.
        way: What its label depends on; None for the loop of a box.
        loop_places: Where the label of a loop could be.
        label: The place that was chosen for the label, or None if none is free.
    """

    line: str
    head: str
    way: "Way | None" = None
    loop_places: Sequence[Point] = ()
    label: Point | None = None

    @cached_property
    def places(self) -> Sequence[Point]:
        """Where a label could be, from the left and from the top, the best place first."""
        return self.way.places() if self.way else self.loop_places

    @cached_property
    def points(self) -> Sequence[Point]:
        """Positions along the whole line, from the left and from the top; none for a loop."""
        return self.way.points() if self.way else ()


@dataclass(frozen=True)
class Way:
    """The way of an arrow from the left to the right, from which places of a label follow.

    Attributes:
        corners: Two points for each layer that it crosses, and one at each end.
        lean: 1 if the label should be near the last corner, -1 for the first one, else 0.
        writer: The writer of the drawing.
    """

    corners: Sequence[Point]
    lean: int
    writer: "PathWriter"

    def places(self) -> list[Point]:
        """Return where a label could be, the best place first."""
        return [self.writer.on_paper(place) for place in _label_places(self.corners, self.lean)]

    def points(self) -> list[Point]:
        """Return positions along the whole way."""
        return [self.writer.on_paper(point) for point in _points_along(self.corners)]


@dataclass(frozen=True)
class PathWriter:
    """Writes paths; ``is_tall`` says whether the layers are from top to bottom."""

    is_tall: bool = False

    def arrow(self, corners: Sequence[Point], *, is_reversed: bool, lean: int = 0) -> Arrow:
        """Return the arrow along ``corners``, two for each layer that it crosses.

        It ends at the last one, or at the first one if it is reversed. ``lean`` is 1 if the label
        should be near the last one, where fewer arrows are, -1 for the first one, else 0.
        """
        points = list(corners[::-1] if is_reversed else corners)
        forward = -1.0 if is_reversed else 1.0
        tip, across = points[-1]
        # The line ends within the head, so that its end is not seen beside the tip.
        points[-1] = (tip - forward * HEAD_LENGTH / 2, across)
        line = self._path("M", points[0])
        for number, (before, point) in enumerate(pairwise(points)):
            if number % 2 == 0:
                bend = (before[0] + point[0]) / 2
                line += self._path("C", (bend, before[1]), (bend, point[1]), point)
            else:
                line += self._path("L", point)
        base = tip - forward * HEAD_LENGTH
        head = self._triangle(
            (base, across - HEAD_WIDTH), (tip, across), (base, across + HEAD_WIDTH)
        )
        return Arrow(line, head, Way(corners, lean, self))

    def loop(self, corner: Point, length: float) -> Arrow:
        """Return the arrow of a box to itself, whose side before ``corner`` has that length."""
        start, side = corner
        last = start + length - min(24.0, length / 4)
        first = last - min(40.0, length / 2)
        far = side - LOOP_HEIGHT + 6
        line = self._path("M", (first, side))
        line += self._path("C", (first, far), (last, far), (last, side - HEAD_LENGTH / 2))
        base = side - HEAD_LENGTH
        head = self._triangle((last - HEAD_WIDTH, base), (last, side), (last + HEAD_WIDTH, base))
        place = (first - 46, side - 6)
        return Arrow(line, head, loop_places=[] if self.is_tall else [place])

    def on_paper(self, point: Point) -> Point:
        """Return the position of a point from the left and from the top."""
        return point[::-1] if self.is_tall else point

    def _triangle(self, *points: Point) -> str:
        return f"{self._path('M', points[0])}{self._path('L', *points[1:])}z"

    def _path(self, command: str, *points: Point) -> str:
        written = (self.on_paper(point) for point in points)
        return f"{command}{' '.join(f'{x:.1f} {y:.1f}' for x, y in written)}"


def _label_places(corners: Sequence[Point], lean: int) -> Iterator[Point]:
    """Yield the places of a label: between two layers, the last ones first, then in a layer."""
    between = list(zip(corners[::2], corners[1::2], strict=True))
    for start, end in (between[-1], *between[:-1]):
        for offset in (lean * LEAN, 0.0, LEAN if lean <= 0 else -LEAN, LEAN if lean > 0 else -LEAN):
            yield _point_on_way(start, end, MIDDLE + offset)
    for start, end in zip(corners[1:-1:2], corners[2:-1:2], strict=True):
        yield (start[0] + end[0]) / 2, start[1]


def _points_along(corners: Sequence[Point]) -> Iterator[Point]:
    """Yield points of a whole line: of its curves between the layers, and of its straight parts."""
    for number, (start, end) in enumerate(pairwise(corners)):
        for step in range(POINTS_PER_PART):
            part = step / POINTS_PER_PART
            if number % 2 == 0:
                yield _point_on_way(start, end, part)
            else:
                yield start[0] + part * (end[0] - start[0]), start[1]


def _point_on_way(start: Point, end: Point, part: float) -> Point:
    """Return a point of the curve from one layer to the next; ``part`` is from 0 to 1.

    It is a Bézier curve whose two control points are half way along the layers.
    """
    rest = 1 - part
    near = 3 * rest * rest * part
    far = 3 * rest * part * part
    along = (near + far) / 2 + part**3
    across = far + part**3
    return (
        start[0] + along * (end[0] - start[0]),
        start[1] + across * (end[1] - start[1]),
    )
