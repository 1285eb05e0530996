"""Finds the peers of a request in the local store's file, and what their spans say."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from three_pillar_demo.query import sqlite_rows
from three_pillar_demo.query.peers import MAX_TREE_SPANS, Fact, Facts, PeerQuery, facts_of
from three_pillar_demo.query.sqlite_reader import SqliteReader

MAX_SERVERS_SCANNED = 50_000
"""The number of SERVER spans of all services, before and after a request, that are searched."""
MAX_ROWS_SCANNED = 25_000
"""The same for spans of another kind, in the order in which they were stored; they have no index.
"""
MAX_SPANS = 10_000
"""The number of spans of all peers together that are read."""
# The index has all columns of the inner statement, so only the rows of the service are read. The
# order of the inner one is that of the result: the nearest peers come first.
SELECT_SERVERS = """SELECT span.trace_id, span.span_id, span.start FROM (
  SELECT rowid AS id, duration, source, status FROM span INDEXED BY span_server
  WHERE kind = 2 AND start BETWEEN :start AND :end ORDER BY start {order} LIMIT :scanned
) AS near CROSS JOIN span ON span.rowid = near.id
WHERE near.source IN (SELECT id FROM source WHERE service = :service)
AND (near.status = 2) = :failed AND near.duration >= :min_duration
AND near.duration < :max_duration AND span.name = :name AND span.trace_id != :trace_id
LIMIT :limit"""
SELECT_OTHERS = """SELECT trace_id, span_id, start FROM span
WHERE rowid BETWEEN (SELECT max(rowid) FROM span WHERE trace_id = :trace_id) - :scanned
AND (SELECT max(rowid) FROM span WHERE trace_id = :trace_id) + :scanned
AND kind = :kind AND start BETWEEN :start AND :end
AND source IN (SELECT id FROM source WHERE service = :service)
AND (status = 2) = :failed AND duration >= :min_duration AND duration < :max_duration
AND name = :name AND trace_id != :trace_id
ORDER BY abs(start - :time) LIMIT :limit"""

PeerId = tuple[bytes, bytes]
"""The trace id and the span id of a peer."""


async def peer_facts(reader: SqliteReader, wanted: PeerQuery) -> list[Facts]:
    """Return what the spans of each peer say, of the nearest peer first."""
    peers = await _peers(reader, wanted)
    if wanted.whole_tree:
        peers = await _readable(reader, peers)
    rows = await _rows(reader, peers, whole_tree=wanted.whole_tree)
    return await asyncio.to_thread(_facts, peers, rows, wanted)


async def _peers(reader: SqliteReader, wanted: PeerQuery) -> list[PeerId]:
    kinds = sqlite_rows.KINDS
    parameters = {
        "trace_id": sqlite_rows.id_bytes(wanted.trace_id),
        "service": wanted.service,
        "name": wanted.name,
        "kind": kinds.index(wanted.kind) if wanted.kind in kinds else -1,
        "time": wanted.time,
        "start": wanted.start,
        "end": wanted.end,
        "failed": wanted.failed,
        "min_duration": wanted.min_duration,
        "max_duration": wanted.max_duration,
        "limit": wanted.limit,
        "scanned": MAX_SERVERS_SCANNED if wanted.kind == "SERVER" else MAX_ROWS_SCANNED,
    }
    if wanted.kind == "SERVER":
        before = SELECT_SERVERS.format(order="DESC")
        after = SELECT_SERVERS.format(order="ASC")
        rows = [
            *await reader.fetch(before, parameters | {"end": wanted.time}),
            *await reader.fetch(after, parameters | {"start": wanted.time + 1}),
        ]
    else:
        rows = await reader.fetch(SELECT_OTHERS, parameters)
    nearest = sorted(rows, key=lambda row: abs(row[2] - wanted.time))[: wanted.limit]
    return [(trace_id, span_id) for trace_id, span_id, _ in nearest]


async def _readable(reader: SqliteReader, peers: Sequence[PeerId]) -> list[PeerId]:
    """Return the nearest peers that are in traces of at most ``MAX_SPANS`` spans together."""
    trace_ids = tuple({trace_id for trace_id, _ in peers})
    rows = await reader.fetch(
        f"SELECT trace_id, count(*) FROM span WHERE trace_id IN ({_marks(trace_ids)}) "  # noqa: S608  (of constants)
        "GROUP BY trace_id",
        trace_ids,
    )
    counts = dict(rows)
    readable: list[PeerId] = []
    left = MAX_SPANS
    for peer in peers:
        left -= counts.pop(peer[0], 0)
        if left < 0:
            break
        readable.append(peer)
    return readable


async def _rows(
    reader: SqliteReader, peers: Sequence[PeerId], *, whole_tree: bool
) -> list[Sequence[Any]]:
    """Return the rows of the peers' spans, or of all spans in their traces."""
    trace_ids = tuple({trace_id for trace_id, _ in peers})
    span_ids = () if whole_tree else tuple({span_id for _, span_id in peers})
    of_peers = "" if whole_tree else f"AND span_id IN ({_marks(span_ids)})"
    return await reader.fetch(
        "SELECT trace_id, span_id, parent_id, service, attributes, resource FROM span "  # noqa: S608  (of constants)
        "JOIN source ON source.id = span.source "
        f"WHERE trace_id IN ({_marks(trace_ids)}) {of_peers}",
        (*trace_ids, *span_ids),
    )


def _facts(peers: Sequence[PeerId], rows: Sequence[Any], wanted: PeerQuery) -> list[Facts]:
    """Return what the spans of each peer say; a peer with too many spans is left out."""
    rows_of = defaultdict[PeerId, list[Any]](list)
    below = defaultdict[PeerId, list[PeerId]](list)
    for row in rows:
        trace_id, span_id, parent_id = row[:3]
        rows_of[trace_id, span_id].append(row)
        if parent_id and wanted.whole_tree:
            below[trace_id, parent_id].append((trace_id, span_id))
    facts = []
    for peer in peers:
        tree = _tree(peer, below)
        if len(tree) <= MAX_TREE_SPANS:
            said = (fact for span in tree for row in rows_of[span] for fact in _said(row, wanted))
            facts.append(frozenset(said))
    return facts


def _tree(peer: PeerId, below: Mapping[PeerId, Sequence[PeerId]]) -> set[PeerId]:
    """Return the ids of a peer's span and of those below it, one more than allowed at most."""
    tree: set[PeerId] = set()
    waiting = [peer]
    while waiting and len(tree) <= MAX_TREE_SPANS:
        span = waiting.pop()
        if span not in tree:
            tree.add(span)
            waiting.extend(below.get(span, ()))
    return tree


def _said(row: Sequence[Any], wanted: PeerQuery) -> Iterable[Fact]:
    service, attributes, resource = row[3:]
    return facts_of(service, json.loads(attributes), json.loads(resource), wanted.names)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)
