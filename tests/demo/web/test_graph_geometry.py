"""Tests that the drawing of the service graph is legible for any graph."""

import re

import pytest

from three_pillar_demo.query.service_map import ParticipantKind
from three_pillar_demo.web import graph_paths
from three_pillar_demo.web.graph_geometry import (
    COMPACT,
    SLIM,
    TALL,
    Drawing,
    Size,
    draw,
    drawings,
)
from three_pillar_demo.web.graph_labels import place_labels
from three_pillar_demo.web.graph_shapes import outline
from three_pillar_demo.web.layered_layout import Edge, layers_of

CHAIN = [(0, 1), (1, 2), (2, 3)]
CYCLE = [(0, 1), (1, 2), (2, 0)]
BOTH_WAYS = [(0, 1), (1, 0)]
STAR = [(0, number) for number in range(1, 60)]
COMPLETE = [(one, other) for one in range(9) for other in range(9)]


def scattered_edges(count: int, number: int) -> list[Edge]:
    """Return edges between ``count`` nodes without any order, the same in each run."""
    return [(7 * step * step % count, (13 * step + step // 5) % count) for step in range(number)]


GRAPHS = [
    (0, []),
    (1, []),
    (1, [(0, 0)]),
    (2, [(0, 1)]),
    (2, BOTH_WAYS),
    (3, CYCLE),
    (4, CHAIN),
    (9, COMPLETE),
    (60, STAR),
    (80, []),
    (80, scattered_edges(80, 200)),
    (8, scattered_edges(8, 20)),
]


def numbers(path: str) -> list[float]:
    """Return the numbers in a path."""
    return [float(number) for number in re.findall(r"-?[\d.]+", path)]


def drawing_of(count: int, edges: list[Edge], size: Size | None) -> Drawing:
    """Return a drawing in which each arrow has a label, if there is room."""
    drawing = draw(count, list(dict.fromkeys(edges)), size)
    place_labels(drawing, [("100.0/s", "12.5 % failed") for _ in drawing.arrows])
    return drawing


@pytest.mark.parametrize(
    ("count", "edges"),
    [*GRAPHS, *((1 + number % 9, scattered_edges(1 + number % 9, number)) for number in range(40))],
)
def test_a_tall_drawing_is_left_out_only_if_none_is_slim(count: int, edges: list[Edge]) -> None:
    """A graph has the first of the tall drawings that a phone shows as a whole, and a wide one."""
    distinct = list(dict.fromkeys(edges))
    slim = [one for one in (draw(count, distinct, size) for size in (TALL, SLIM)) if one.is_slim]
    expected = [("wide", draw(count, distinct)), *(("tall", one) for one in slim[:1])]
    assert drawings(count, distinct) == expected


@pytest.mark.parametrize("size", [None, TALL])
@pytest.mark.parametrize(("count", "edges"), GRAPHS, ids=range(len(GRAPHS)))
def test_no_two_boxes_overlap(count: int, edges: list[Edge], size: Size | None) -> None:
    """Boxes have a distance from each other, and all are within the drawing."""
    drawing = drawing_of(count, edges, size)
    width = drawing.size.width
    height = drawing.size.height
    for number, box in enumerate(drawing.boxes):
        assert 0 <= box.x <= drawing.width - width
        assert 0 <= box.y <= drawing.height - height
        for other in drawing.boxes[:number]:
            is_beside = abs(box.x - other.x) >= width + 8
            assert is_beside or abs(box.y - other.y) >= height + 8


@pytest.mark.parametrize("size", [None, TALL])
@pytest.mark.parametrize(("count", "edges"), GRAPHS, ids=range(len(GRAPHS)))
def test_labels_cover_neither_boxes_nor_each_other(
    count: int, edges: list[Edge], size: Size | None
) -> None:
    """The rectangles of all labels and boxes are apart; a label without room is left out."""
    drawing = drawing_of(count, edges, size)
    places = [arrow.label for arrow in drawing.arrows if arrow.label]
    for number, (x, y) in enumerate(places):
        for box in drawing.boxes:
            is_beside = x + 30 <= box.x or x - 30 >= box.x + drawing.size.width
            assert is_beside or y + 10 <= box.y or y - 10 >= box.y + drawing.size.height
        for other_x, other_y in places[:number]:
            assert abs(x - other_x) >= 60 or abs(y - other_y) >= 28


@pytest.mark.parametrize("size", [None, TALL])
@pytest.mark.parametrize(("count", "edges"), GRAPHS, ids=range(len(GRAPHS)))
def test_a_label_covers_no_other_arrow(count: int, edges: list[Edge], size: Size | None) -> None:
    """A label without a failure is left out where the line of another arrow would cross it."""
    drawing = draw(count, list(dict.fromkeys(edges)), size)
    place_labels(drawing, [("100.0/s", "") for _ in drawing.arrows])
    for arrow in drawing.arrows:
        if arrow.label:
            x, y = arrow.label
            crossing = [
                other
                for other in drawing.arrows
                for point_x, point_y in other.points
                if other is not arrow and abs(point_x - x) < 20 and y - 14 < point_y < y
            ]
            assert crossing == []


def test_a_label_with_a_failure_is_where_it_covers_the_fewest_arrows() -> None:
    """The label of a long call that has failed is not where short calls cross it."""
    edges = [*CHAIN, (0, 3), (0, 2), (1, 3)]
    drawing = draw(4, edges)
    place_labels(drawing, [("1.0/s", "12.5 % failed" if edge == (0, 3) else "") for edge in edges])
    long_call = drawing.arrows[edges.index((0, 3))]
    assert long_call.label
    x, y = long_call.label
    for other in drawing.arrows:
        if other is not long_call:
            assert not [
                point for point in other.points if abs(point[0] - x) < 38 and abs(point[1] - y) < 14
            ]


def test_five_layers_are_visible_at_once() -> None:
    """The boxes of five layers get shorter, so that a usual window shows all of them."""
    drawing = draw(5, [*CHAIN, (3, 4)])
    assert drawing.width <= 1200
    assert draw(4, CHAIN).size == Size()
    assert draw(9, [(number, number + 1) for number in range(8)]).size == Size()


@pytest.mark.parametrize("size", [Size(), COMPACT, TALL, SLIM])
def test_the_rim_of_a_database_is_above_its_name(size: Size) -> None:
    """The curve of the upper end of a database ends where the letters of its name begin."""
    path = numbers(outline(ParticipantKind.DATABASE, size.width, size.height))
    *_, start, _, lower, _, _, _, end = path
    assert start == end
    rim_bottom = start + 0.75 * (lower - start)
    baseline = round(size.height / 2 + 3 - 4)
    assert rim_bottom <= baseline - 10
    assert min(path) >= -1.5


@pytest.mark.parametrize("size", [None, TALL])
@pytest.mark.parametrize(("count", "edges"), GRAPHS, ids=range(len(GRAPHS)))
def test_arrows_begin_and_end_at_their_boxes(
    count: int, edges: list[Edge], size: Size | None
) -> None:
    """The line of each arrow begins at its caller, and the tip of its head is at its callee."""
    drawing = drawing_of(count, edges, size)
    width = drawing.size.width
    height = drawing.size.height
    for (caller, callee), arrow in zip(dict.fromkeys(edges), drawing.arrows, strict=True):
        for node, (x, y) in ((caller, numbers(arrow.line)[:2]), (callee, numbers(arrow.head)[2:4])):
            box = drawing.boxes[node]
            assert box.x - 1 <= x <= box.x + width + 1
            assert box.y - 1 <= y <= box.y + height + 1


def test_the_arrow_from_a_box_to_itself_crosses_no_other_box() -> None:
    """Boxes above a loop end above its highest point."""
    edges = [(0, 1), (0, 2), (0, 3), (2, 2), (3, 3)]
    drawing = draw(4, edges)
    for node, arrow in ((2, drawing.arrows[3]), (3, drawing.arrows[4])):
        highest = min(numbers(arrow.line)[1::2])
        above = [box for box in drawing.boxes if box.y < drawing.boxes[node].y]
        beside = [box for box in above if box.x == drawing.boxes[node].x]
        assert beside
        assert all(box.y + drawing.size.height < highest for box in beside)


def test_callers_are_to_the_left_of_callees() -> None:
    """Only the call that closes a cycle leads to the left, and its arrow says so."""
    drawing = draw(3, CYCLE)
    lefts = [box.x for box in drawing.boxes]
    assert lefts == sorted(lefts)
    backward = drawing.arrows[2]
    base_x, _, tip_x, *_ = numbers(backward.head)
    assert tip_x < base_x
    assert numbers(backward.line)[0] == pytest.approx(lefts[2], abs=1)


def test_calls_in_both_directions_have_lines_of_their_own() -> None:
    """Two services that call each other have two arrows that do not lie on each other."""
    there, back = draw(2, BOTH_WAYS).arrows
    assert numbers(there.head)[3] != numbers(back.head)[3]


def test_a_call_over_several_layers_goes_around_the_boxes_between() -> None:
    """A long arrow crosses a layer at a place of its own, where no box is."""
    drawing = draw(4, [*CHAIN, (0, 3)])
    size = drawing.size
    line = drawing.arrows[3].line
    assert line.count("L") == 2
    for x, y in re.findall(r"([\d.]+) ([\d.]+)L", line):
        for box in drawing.boxes:
            is_beside = not box.x - 1 <= float(x) <= box.x + 1
            assert is_beside or not box.y <= float(y) <= box.y + size.height


def test_the_source_of_calls_is_next_to_what_it_calls() -> None:
    """A job that calls only a database at the end of a chain is drawn beside it."""
    layers = layers_of(5, [*CHAIN, (4, 3)])
    assert [4 in row for row in layers.rows] == [False, False, True, False]


def test_the_number_of_waypoints_is_bounded() -> None:
    """A graph with many long calls has a bounded number of waypoints."""
    chain = [(number, number + 1) for number in range(79)]
    long_calls = [(one, other) for one in range(20) for other in range(70, 80)]
    layers = layers_of(80, [*chain, *long_calls])
    assert 1_000 < sum(map(len, layers.waypoints.values())) <= 1_500


def test_a_large_graph_without_failures_computes_no_places_of_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What no label needs is not computed: it takes a third of the time of such a drawing."""
    computed: list[str] = []
    for name in ("places", "points"):
        monkeypatch.setattr(graph_paths.Way, name, lambda _way, kind=name: computed.append(kind))
    drawing = draw(60, STAR)
    place_labels(drawing, [("1.0/s", "") for _ in STAR])
    assert drawing.size.is_compact
    assert not computed
