"""Lays out a directed graph from left to right: layers, an order in each, and coordinates.

The steps are those of Sugiyama's method. Calls that close a cycle are turned round for the layout,
each node gets the layer after its last caller, and a call over several layers gets a waypoint in
each layer between. Then nodes are ordered by the mean position of their neighbours, and moved as
near to these as the distances allow. All functions are pure, and lengths have no unit.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 6
"""How often the order and the positions are improved, from left to right and back."""
MAX_WAYPOINTS = 1_500
"""The number of waypoints of all calls; the longest calls beyond it are drawn straight."""
NO_NODE = -1

Edge = tuple[int, int]
"""The numbers of two nodes: caller and callee."""


@dataclass
class Layers:
    """The layers of a graph, from left to right.

    Attributes:
        rows: The numbers of the nodes and waypoints of each layer, from top to bottom.
        reversed_edges: The edges that lead to the left, because they close a cycle.
        waypoints: The waypoints of each edge that has any, from left to right.
    """

    rows: list[list[int]]
    reversed_edges: frozenset[Edge] = frozenset()
    waypoints: dict[Edge, list[int]] = field(default_factory=dict)


def layers_of(count: int, edges: Iterable[Edge]) -> Layers:
    """Return the layers of the nodes 0 to ``count`` - 1; waypoints have the numbers after these.

    An edge from a node to itself is left out. A node without any edge is in the first layer.
    """
    links = [edge for edge in dict.fromkeys(edges) if edge[0] != edge[1]]
    backward = _closing_edges(count, links)
    forward = {edge: edge[::-1] if edge in backward else edge for edge in links}
    layer = _longest_paths(count, set(forward.values()))
    rows: list[list[int]] = [[] for _ in range(max(layer, default=0) + 1)]
    for node in range(count):
        rows[layer[node]].append(node)
    result = Layers(rows, frozenset(backward))
    neighbours: list[Edge] = []
    number = count
    for edge, (left, right) in sorted(
        forward.items(), key=lambda item: layer[item[1][1]] - layer[item[1][0]]
    ):
        between = range(layer[left] + 1, layer[right])
        if number - count + len(between) > MAX_WAYPOINTS:
            continue
        chain = list(range(number, number + len(between)))
        number += len(between)
        for place, waypoint in zip(between, chain, strict=True):
            rows[place].append(waypoint)
        if chain:
            result.waypoints[edge] = chain
        steps = [left, *chain, right]
        neighbours += pairwise(steps)
    _order(rows, neighbours)
    return result


def positions(
    layers: Layers, edges: Iterable[Edge], heights: Mapping[int, float], gap: float
) -> dict[int, float]:
    """Return the middle of each node and waypoint on the axis from top to bottom.

    ``heights`` has the height of each; any two of a layer are at least ``gap`` apart.
    """
    middle: dict[int, float] = {}
    for row in layers.rows:
        top = 0.0
        for node in row:
            middle[node] = top + heights[node] / 2
            top += heights[node] + gap
    to_left, to_right = _sides(layers, edges)
    for _ in range(SWEEPS):
        for row in layers.rows[1:]:
            _move(row, to_left, middle, heights, gap)
        for row in reversed(layers.rows[:-1]):
            _move(row, to_right, middle, heights, gap)
    return middle


def _closing_edges(count: int, edges: Sequence[Edge]) -> set[Edge]:
    """Return the edges that close a cycle, in a depth-first search from nodes without callers."""
    callees = defaultdict[int, list[int]](list)
    caller_count = [0 for _ in range(count)]
    for caller, callee in edges:
        callees[caller].append(callee)
        caller_count[callee] += 1
    closing: set[Edge] = set()
    is_done: dict[int, bool] = {}
    roots = sorted(range(count), key=lambda node: caller_count[node] - len(callees[node]))
    roots.sort(key=lambda node: caller_count[node] > 0)
    for root in roots:
        if root in is_done:
            continue
        is_done[root] = False
        path = [(root, iter(callees[root]))]
        while path:
            node, rest = path[-1]
            callee = next(rest, NO_NODE)
            if callee == NO_NODE:
                is_done[node] = True
                path.pop()
            elif callee not in is_done:
                is_done[callee] = False
                path.append((callee, iter(callees[callee])))
            elif not is_done[callee]:
                closing.add((node, callee))
    return closing


def _longest_paths(count: int, edges: set[Edge]) -> list[int]:
    """Return the layer of each node: one after its last caller, and near its first callee."""
    callees = defaultdict[int, list[int]](list)
    caller_count = [0 for _ in range(count)]
    for caller, callee in sorted(edges):
        callees[caller].append(callee)
        caller_count[callee] += 1
    sources = [node for node in range(count) if not caller_count[node]]
    layer = [0 for _ in range(count)]
    ready = list(sources)
    while ready:
        node = ready.pop()
        for callee in callees[node]:
            layer[callee] = max(layer[callee], layer[node] + 1)
            caller_count[callee] -= 1
            if not caller_count[callee]:
                ready.append(callee)
    for node in sources:
        if callees[node]:
            layer[node] = min(layer[callee] for callee in callees[node]) - 1
    return layer


def _order(rows: list[list[int]], neighbours: Sequence[Edge]) -> None:
    """Order each layer by the mean position of the neighbours, first on the left, then right."""
    to_left = defaultdict[int, list[int]](list)
    to_right = defaultdict[int, list[int]](list)
    for left, right in neighbours:
        to_left[right].append(left)
        to_right[left].append(right)
    place = {node: float(index) for row in rows for index, node in enumerate(row)}
    for _ in range(SWEEPS):
        before = [list(row) for row in rows]
        for row in rows[1:]:
            _sort(row, to_left, place)
        for row in reversed(rows[:-1]):
            _sort(row, to_right, place)
        if rows == before:
            break  # Each further sweep would do the same again.


def _sort(row: list[int], neighbours: Mapping[int, Sequence[int]], place: dict[int, float]) -> None:
    wanted = {node: _mean(neighbours.get(node, ()), place, place[node]) for node in row}
    row.sort(key=wanted.__getitem__)
    place.update((node, float(index)) for index, node in enumerate(row))


def _sides(
    layers: Layers, edges: Iterable[Edge]
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the neighbours in the layer on the left, and those on the right, of each node."""
    to_left = defaultdict[int, list[int]](list)
    to_right = defaultdict[int, list[int]](list)
    for edge in dict.fromkeys(edges):
        if edge[0] == edge[1]:
            continue
        left, right = edge[::-1] if edge in layers.reversed_edges else edge
        steps = [left, *layers.waypoints.get(edge, []), right]
        for one, other in pairwise(steps):
            to_left[other].append(one)
            to_right[one].append(other)
    return to_left, to_right


def _move(
    row: Sequence[int],
    neighbours: Mapping[int, Sequence[int]],
    middle: dict[int, float],
    heights: Mapping[int, float],
    gap: float,
) -> None:
    """Move the nodes of a layer as near to the middle of their neighbours as the distances allow.

    The sum of squared distances to the wanted positions is the least: neighbours that want to be
    too near to each other become one block, which is put at the mean of what its members want.
    """
    offset = 0.0
    blocks: list[tuple[float, int]] = []
    offsets = []
    for index, node in enumerate(row):
        if index:
            offset += (heights[row[index - 1]] + heights[node]) / 2 + gap
        offsets.append(offset)
        total = _mean(neighbours.get(node, ()), middle, middle[node]) - offset
        size = 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / size:
            before, before_size = blocks.pop()
            total += before
            size += before_size
        blocks.append((total, size))
    starts = [total / size for total, size in blocks for _ in range(size)]
    for node, start, offset in zip(row, starts, offsets, strict=True):
        middle[node] = start + offset


def _mean(nodes: Sequence[int], values: Mapping[int, float], default: float) -> float:
    return sum(map(values.__getitem__, nodes)) / len(nodes) if nodes else default
