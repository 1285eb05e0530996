"""Places the labels of the arrows of the service graph: over no box, no label, and few arrows."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from three_pillar_demo.web.graph_geometry import Drawing
from three_pillar_demo.web.graph_paths import Arrow, Point

CHARACTER_WIDTH = 6.2
"""The width of a character of a label, on average."""
LINE_HEIGHT = 15.0
BOX_DISTANCE = 6.0
"""The distance of a label from a box, at which the head of an arrow may be."""
LABEL_DISTANCE = 4.0
"""The distance of two labels beside each other."""
CELL = 40.0
"""The size of the squares in which points of arrows are looked up."""

Area = tuple[float, float, float, float]
"""The left, upper, right and lower ends of a rectangle."""


@dataclass(frozen=True)
class _Label:
    """The label of one arrow: whether it says that calls have failed, and where it could be."""

    arrow: Arrow
    has_failed: bool
    areas: Mapping[Point, Area]

    @property
    def best_area(self) -> Area:
        """The area at the best place; that of nothing if there is no place."""
        return next(iter(self.areas.values()), (0.0, 0.0, 0.0, 0.0))


def place_labels(drawing: Drawing, texts: Sequence[tuple[str, str]]) -> None:
    """Give each arrow of ``drawing`` a place for its label, as long as one is free.

    ``texts`` has the two lines of each label, in the order of the arrows. A label with a second
    line, which says that calls have failed, comes first, and gets the place that covers the fewest
    other arrows. Any other label must cover none, and a compact drawing has none of these.
    """
    labels = [
        _label(arrow, lines)
        for arrow, lines in zip(drawing.arrows, texts, strict=True)
        if lines[1] or not drawing.size.is_compact
    ]
    if not labels:
        return  # The points of all arrows, which most large graphs do not need, take a while.
    taken = list(_areas_of_boxes(drawing))
    find_lines = _line_finder(drawing.arrows)
    waiting = [label for label in labels if label.has_failed]
    while waiting:
        label = waiting.pop(0)
        # A place that takes away the best place of another label is worse, too.
        costs = {
            place: len(find_lines(area) - {id(label.arrow)})
            + sum(_overlap(area, other.best_area) for other in waiting)
            for place, area in _free(label, taken).items()
        }
        _put(label, min(costs, key=costs.__getitem__, default=None), taken)
    for label in labels:
        if not label.has_failed:
            free = _free(label, taken)
            clear = (place for place in free if find_lines(free[place]) <= {id(label.arrow)})
            _put(label, next(clear, None), taken)


def _label(arrow: Arrow, lines: tuple[str, str]) -> _Label:
    half = max(len(line) for line in lines) * CHARACTER_WIDTH / 2
    below = LINE_HEIGHT if lines[1] else 0.0
    areas = {
        (x, y): (x - half, y - LINE_HEIGHT, x + half, y + below + 2)
        for x, y in arrow.places
        if y >= LINE_HEIGHT
    }
    return _Label(arrow, bool(lines[1]), areas)


def _areas_of_boxes(drawing: Drawing) -> Sequence[Area]:
    distance = 0.0 if drawing.size.is_compact else BOX_DISTANCE
    return [
        (
            box.x - distance,
            box.y - 2,
            box.x + drawing.size.width + distance,
            box.y + drawing.size.height + 2,
        )
        for box in drawing.boxes
    ]


def _free(label: _Label, taken: Sequence[Area]) -> dict[Point, Area]:
    """Return the areas of ``label`` that overlap with none of the areas that are taken."""
    return {
        place: area
        for place, area in label.areas.items()
        if not any(_overlap(area, other) for other in taken)
    }


def _put(label: _Label, place: Point | None, taken: list[Area]) -> None:
    if place is None:
        return
    left, top, right, bottom = label.areas[place]
    taken.append((left - LABEL_DISTANCE, top, right + LABEL_DISTANCE, bottom))
    label.arrow.label = place


def _line_finder(arrows: Sequence[Arrow]) -> Callable[[Area], set[int]]:
    """Return a function that returns the ids of the arrows whose lines cross an area."""
    cells = defaultdict[tuple[int, int], list[tuple[float, float, int]]](list)
    for arrow in arrows:
        for x, y in arrow.points:
            cells[int(x // CELL), int(y // CELL)].append((x, y, id(arrow)))

    def find(area: Area) -> set[int]:
        left, top, right, bottom = area
        return {
            found
            for column in range(int(left // CELL), int(right // CELL) + 1)
            for row in range(int(top // CELL), int(bottom // CELL) + 1)
            for x, y, found in cells.get((column, row), ())
            if left <= x <= right and top <= y <= bottom
        }

    return find


def _overlap(one: Area, other: Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
