"""Finds the peers of a request in Tempo, and what their spans say."""

import json
from collections.abc import Iterator
from typing import Any

from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.lgtm_requests import ABSENT, TempoSearch
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.peers import (
    MAX_TREE_SPANS,
    RESOURCE_NAMES,
    Fact,
    Facts,
    PeerQuery,
    facts_of,
)

KINDS = ("server", "client", "producer", "consumer", "internal", "unspecified")
"""The kinds of spans that TraceQL knows."""
SERVICE = "service.name"
TRACE_ID_DIGITS = 32
LONGEST_NS = 10**15
"""A duration, in nanoseconds, from which no longest one is asked for."""


async def peer_facts(client: TempoSearch, wanted: PeerQuery) -> list[Facts]:
    """Return what the spans of each peer say.

    Tempo cannot be asked for the nearest ones, so the newest ones of the time range are returned,
    and of several in one trace, what all of them say. A peer of which Tempo has not returned all
    spans is left out.
    """
    traces = await client.search(
        traceql(wanted),
        wanted.start / NANO,
        wanted.end / NANO,
        wanted.limit + 1,
        MAX_TREE_SPANS,
    )
    peers = [
        frozenset(_facts(span_set["spans"], wanted))
        for trace in traces
        if trace["traceID"].zfill(TRACE_ID_DIGITS) != wanted.trace_id
        for span_set in trace.get("spanSets", [])[:1]
        if span_set.get("matched", 0) <= len(span_set.get("spans", []))
    ]
    return peers[: wanted.limit]


def traceql(wanted: PeerQuery) -> str:
    """Return the TraceQL query for the peers, with the attributes that are compared."""
    conditions = [
        f"resource.{SERVICE}={quoted(wanted.service)}",
        f"name={quoted(wanted.name)}",
        f"status{'=' if wanted.failed else '!='}error",
    ]
    if wanted.kind.lower() in KINDS:
        conditions.append(f"kind={wanted.kind.lower()}")
    if wanted.min_duration > 0:
        conditions.append(f"duration>={wanted.min_duration}ns")
    if wanted.max_duration < LONGEST_NS:
        conditions.append(f"duration<{wanted.max_duration}ns")
    request = f"{{ {' && '.join(conditions)} }}"
    # The operator &>> finds both sides, but nothing for a request without a span below it.
    found = f"({request} || ({request} &>> {{ true }}))" if wanted.whole_tree else request
    selected = [f"resource.{SERVICE}"]
    for name in wanted.names:
        key = json.dumps(name, ensure_ascii=False)
        selected.append(f"span.{key}")
        if name in RESOURCE_NAMES:
            selected.append(f"resource.{key}")
    return f"{found} | select({', '.join(selected)}) with (most_recent=true)"


def _facts(spans: list[dict[str, Any]], wanted: PeerQuery) -> Iterator[Fact]:
    for span in spans:
        # The attributes of the span and of its resource share one list, absent ones included.
        said = {
            attribute["key"]: value
            for attribute in span.get("attributes", [])
            if (value := _value(attribute["value"])) != ABSENT
        }
        service = str(said.pop(SERVICE, ""))
        yield from facts_of(service, said, {}, wanted.names)


def _value(encoded: dict[str, Any]) -> Any:  # noqa: ANN401  (any attribute value)
    """Return a value from Tempo's JSON, which writes an integer as text: ``{"intValue": "7"}``."""
    if "intValue" in encoded:
        return int(encoded["intValue"])
    return next(iter(encoded.values()), None)
