"""Finds the services and routes in Prometheus, Tempo and Loki, with their figures."""

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from three_pillar_demo.query import lgtm_requests, span_figures
from three_pillar_demo.query.interface import NANO, Exemplar
from three_pillar_demo.query.lgtm_red_series import (
    SERIES,
    RedSeries,
    found_series,
    over,
    presence_query,
)
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.red_sources import SPANS, is_failed, route_of
from three_pillar_demo.query.service_figures import (
    INTERVALS_PER_WINDOW,
    MAX_ROUTES,
    PARTS,
    QUANTILES,
    Figures,
)
from three_pillar_demo.query.span_figures import RequestSpan

MAX_TRACES = 1_000
"""The number of traces, the newest ones, from which figures are computed at most."""
MAX_NAMES_IN_QUERY = 100
"""The number of services that a query of Tempo names at most; with more, it names none."""
MAX_WINDOW_S = 150.0
"""The longest window of the rates in the parts of a time range, in seconds."""

Labels = Mapping[str, str]
Vector = list[tuple[dict[str, str], float]]
"""The labels and the value of each series of a result."""
Matrix = list[tuple[dict[str, str], dict[float, float]]]
"""The labels of each series of a result, and its values by time."""


class Clients(Protocol):
    """The queries of Prometheus, Tempo and Loki that these modules need."""

    async def promql(self, query: str, at: float | None = None) -> Vector:
        """Return the result of a PromQL query at one time."""

    async def promql_matrix(self, query: str, times: Sequence[float]) -> Matrix:
        """Return the result of a PromQL query at evenly spaced times."""

    async def promql_range(self, query: str, times: Sequence[float]) -> dict[float, float]:
        """Return the values of a PromQL query with one series, by time."""

    async def promql_exemplars(self, query: str, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars of the series that a PromQL query selects."""

    async def search(
        self, query: str, start: float, end: float, limit: int, spans_per_trace: int
    ) -> list[dict[str, Any]]:
        """Return the traces in a response of Tempo's search."""

    async def service_names(self, start: float, end: float) -> tuple[set[str], set[str]]:
        """Return the names of the services in Tempo, and of those in Loki."""


@dataclass
class _Totals:
    """What the queries say of one service or route."""

    requests: float = 0.0
    failed: float = 0.0
    seconds: float | None = None
    quantiles: list[float | None] = field(default_factory=lambda: [None for _ in QUANTILES])
    rates: list[float | None] = field(default_factory=lambda: [None for _ in range(PARTS)])


async def services(clients: Clients, start: float, end: float) -> list[Figures]:
    """Return the services that were seen in the time range with their figures, sorted by name.

    A series with a single point in the range has no increase: its service gets the figures of its
    spans, as a service without any series does.
    """
    presence, (traced, logged) = await asyncio.gather(
        clients.promql(presence_query(end - start), end), clients.service_names(start, end)
    )
    chosen = found_series(presence)
    results = await asyncio.gather(
        *(
            _figures(clients, series, start, end, [series.service_label])
            for series in SERIES
            if series in chosen.values()
        )
    )
    found = {
        figures.name: figures
        for result in results
        for figures in result
        if figures.name not in chosen or chosen[figures.name].source == figures.source
    }
    for figures in await _span_figures(clients, traced - found.keys(), start, end):
        found[figures.name] = figures
    for name in (traced | logged | chosen.keys()) - {""}:
        found.setdefault(name, Figures(name, "", start, end))
    return [found[name] for name in sorted(found)]


async def routes(clients: Clients, service: str, start: float, end: float) -> list[Figures]:
    """Return the figures of the routes of ``service``, those with the most requests first."""
    chosen = found_series(await clients.promql(presence_query(end - start, service), end))
    found: list[Figures] = []
    if service in chosen:
        series = chosen[service]
        of_service = series.of_service(service)
        found = await _figures(clients, series, start, end, series.route_labels, of_service)
    if not found:
        spans = await request_spans(clients, {service}, start, end, group_by_name=True)
        found = span_figures.figures_by_group(spans, start, end, complete_since(spans, start))
    by_requests = sorted(found, key=lambda figures: (-figures.requests, figures.name))
    return by_requests[:MAX_ROUTES]


async def export_interval(clients: Clients, series: RedSeries, seconds: float, end: float) -> float:
    """Return the seconds between two points of most series; 0 if that is not known."""
    points = over("count_over_time", series.selector("count"), seconds)
    vector = await clients.promql(f"quantile(0.5, {points})", end)
    count = vector[0][1] if vector else 0.0
    return seconds / count if count > 1 else 0.0


async def _figures(
    clients: Clients,
    series: RedSeries,
    start: float,
    end: float,
    by: Sequence[str],
    *conditions: str,
) -> list[Figures]:
    """Return the figures of each service or route that ``series`` count."""
    seconds = end - start
    part_s = seconds / PARTS
    interval = await export_interval(clients, series, seconds, end)
    window = max(2 * part_s, min(MAX_WINDOW_S, INTERVALS_PER_WINDOW * interval))
    # Prometheus computes in whole milliseconds, and the values are looked up by their time.
    times = [round(end - round(part_s, 3) * number, 3) for number in reversed(range(PARTS))]
    counted_by = [*by, *series.status_labels]
    (counts, sums, *quantiles), rates = await asyncio.gather(
        asyncio.gather(
            clients.promql(series.count("increase", seconds, counted_by, *conditions), end),
            clients.promql(series.sum("increase", seconds, by, *conditions), end),
            *(
                clients.promql(series.quantile(quantile, "increase", seconds, by, *conditions), end)
                for quantile in QUANTILES
            ),
        ),
        clients.promql_matrix(series.count("rate", window, by, *conditions), times),
    )
    totals = defaultdict[str, _Totals](_Totals)
    for labels, count in counts:
        group = totals[_group(labels, by)]
        group.requests += count
        group.failed += count if _is_failed(labels, series) else 0.0
    for labels, value in sums:
        group = totals[_group(labels, by)]
        group.seconds = (group.seconds or 0.0) + value
    for labels, values in rates:
        group = totals[_group(labels, by)]
        group.rates = _added(group.rates, [values.get(time) for time in times])
    for position, vector in enumerate(quantiles):
        for labels, value in vector:
            known = value * series.unit_s if math.isfinite(value) else None
            totals[_group(labels, by)].quantiles[position] = known
    return [_of_totals(name, totals[name], series, start, end) for name in sorted(totals) if name]


def _of_totals(name: str, totals: _Totals, series: RedSeries, start: float, end: float) -> Figures:
    first = next((number for number, rate in enumerate(totals.rates) if rate is not None), 0)
    has_mean = totals.seconds is not None and totals.requests > 0
    return Figures(
        name=name,
        source=series.source,
        start=start + first * (end - start) / PARTS,
        end=end,
        requests=totals.requests,
        failed=totals.failed,
        quantiles=tuple(totals.quantiles),
        mean=(totals.seconds or 0.0) / totals.requests * series.unit_s if has_mean else None,
        rates=tuple(totals.rates),
    )


def _group(labels: Labels, by: Sequence[str]) -> str:
    """Return the name of the service or route that has these labels."""
    if len(by) == 1:
        return labels.get(by[0], "")
    return route_of(labels)


def _is_failed(labels: Labels, series: RedSeries) -> bool:
    if series.source == SPANS:
        return labels.get("status_code") == "STATUS_CODE_ERROR"
    return is_failed(labels)


def _added(first: Sequence[float | None], second: Sequence[float | None]) -> list[float | None]:
    return [
        None if a is None and b is None else (a or 0.0) + (b or 0.0)
        for a, b in zip(first, second, strict=True)
    ]


async def _span_figures(
    clients: Clients, names: Iterable[str], start: float, end: float
) -> list[Figures]:
    """Return the figures of the services ``names`` by their newest spans."""
    wanted = set(names)
    if not wanted:
        return []
    spans = await request_spans(clients, wanted, start, end)
    since = complete_since(spans, start)
    return span_figures.figures_by_group(spans, start, end, since)


async def request_spans(
    clients: Clients, names: set[str], start: float, end: float, *, group_by_name: bool = False
) -> list[RequestSpan]:
    """Return the requests of the newest ``MAX_TRACES`` traces of the services ``names``.

    They are grouped by their service, or by their names.
    """
    conditions = [lgtm_requests.IS_REQUEST]
    if len(names) <= MAX_NAMES_IN_QUERY:
        pattern = "|".join(re.escape(name) for name in sorted(names))
        conditions.append(f"resource.service.name=~{quoted(pattern)}")
    query = (
        f"{{ {' && '.join(conditions)} }} | select({lgtm_requests.SELECTED}) "
        "with (most_recent=true)"
    )
    traces = await clients.search(query, start, end, MAX_TRACES, lgtm_requests.MAX_SPANS_PER_TRACE)
    return [
        RequestSpan(
            group=span.name if group_by_name else span.service,
            receives=span.kind in {"SERVER", "CONSUMER"},
            end=span.end / NANO,
            seconds=max(0, span.end - span.start) / NANO,
            failed=span.error,
            trace_id=span.trace_id,
        )
        for trace in traces
        for span in lgtm_requests.spans_of(trace)
        if span.service in names and start <= span.start / NANO <= end
    ]


def complete_since(spans: Sequence[RequestSpan], start: float) -> float:
    """Return the time since which ``spans`` are all that there are, in seconds."""
    if len({span.trace_id for span in spans}) < MAX_TRACES:
        return start
    return max(start, min(span.end for span in spans))
