"""Answers the queries for instruments from Prometheus.

Prometheus keeps neither unit nor description of what it receives by OTLP: its metadata API knows
scraped metrics only. So kind and unit are those that the name tells, which Prometheus' own OTLP
receiver has made: docs/reference/telemetry.md.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from three_pillar_demo.query.beginning import covered_seconds
from three_pillar_demo.query.http_clients import HttpClients
from three_pillar_demo.query.instruments import (
    COUNTER,
    EXPONENTIAL_HISTOGRAM,
    GAUGE,
    HISTOGRAM,
    MAX_EXEMPLARS,
    MAX_GROUPS,
    MAX_INSTRUMENTS,
    MAX_WINDOW_S,
    QUANTILES,
    SUMMARY,
    UP_DOWN_COUNTER,
    Group,
    Instrument,
    InstrumentQuery,
    InstrumentSeries,
    LabelValues,
    Line,
    label_values,
    quantile_name,
    window_for,
)
from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.query.lgtm_beginning import begin_of
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.promql_math import Steps

MAX_SERIES = 2_000
"""The maximum number of series whose labels are read."""
UNITS = {
    "seconds": "s",
    "milliseconds": "ms",
    "microseconds": "us",
    "nanoseconds": "ns",
    "minutes": "min",
    "hours": "h",
    "days": "d",
    "bytes": "By",
    "kibibytes": "KiBy",
    "mebibytes": "MiBy",
    "gibibytes": "GiBy",
    "kilobytes": "kBy",
    "megabytes": "MBy",
    "gigabytes": "GBy",
    "ratio": "1",
    "percent": "%",
    "celsius": "Cel",
    "hertz": "Hz",
    "volts": "V",
    "amperes": "A",
    "joules": "J",
    "watts": "W",
    "meters": "m",
    "grams": "g",
}
"""The units by the last word of a name."""
NO_INSTRUMENTS = ("target_info",)
"""The names of series that Prometheus makes itself for each sender."""
ANY_SERVICE = '{service_name!=""}'
AGGREGATIONS = {GAUGE: "avg", UP_DOWN_COUNTER: "sum"}
Names = dict[str, dict[str, int]]
"""The number of series by the name of the metric and of the service."""
HIDDEN_LABELS = ("__name__", "quantile", "le")


async def instruments(prometheus: HttpClients, start: float, end: float) -> list[Instrument]:
    """Return the instruments with points in the time range, ordered by name.

    Metrics without the label ``service_name`` are those of the backends themselves; they are left
    out.
    """
    over_range = f"last_over_time({ANY_SERVICE}{_range(max(1.0, end - start))})"
    # The other functions remove the name, so it is copied to another label before.
    named = f'label_replace({over_range}, "metric", "$1", "__name__", "(.+)")'
    names, native = await asyncio.gather(
        prometheus.promql(f"count by (__name__, service_name) ({over_range})", end),
        prometheus.promql(f"count by (metric) (histogram_count({named}))", end),
    )
    series: Names = {}
    for labels, count in names:
        series.setdefault(labels["__name__"], {})[labels["service_name"]] = round(count)
    exponential = {labels["metric"] for labels, _ in native}
    found = [
        _instrument(name, kind, series[name + suffix])
        for name, kind, suffix in _kinds(series, exponential)
    ]
    return sorted(found, key=lambda instrument: instrument.name)[:MAX_INSTRUMENTS]


def _kinds(series: Names, exponential: set[str]) -> list[tuple[str, str, str]]:
    """Return the name and the kind of each instrument, and the suffix of the series to count."""
    kinds: dict[str, tuple[str, str]] = {}
    for name in series:
        kind = COUNTER if name.endswith("_total") else GAUGE
        kinds[name] = (EXPONENTIAL_HISTOGRAM if name in exponential else kind, "")
    for name in NO_INSTRUMENTS:
        kinds.pop(name, None)
    for count_name in [name for name in series if name.endswith("_count")]:
        name = count_name.removesuffix("_count")
        parts = {f"{name}_bucket", f"{name}_sum", count_name}
        if f"{name}_bucket" in series:
            kinds[name] = (HISTOGRAM, "_count")
        elif f"{name}_sum" in series:
            kinds[name] = (SUMMARY, "_count")
        else:
            continue
        for part in parts:
            kinds.pop(part, None)
    return [(name, kind, suffix) for name, (kind, suffix) in kinds.items()]


def _instrument(name: str, kind: str, series_by_service: dict[str, int]) -> Instrument:
    return Instrument(
        name,
        name,
        kind,
        unit=UNITS.get(name.removesuffix("_total").rpartition("_")[2], ""),
        services=tuple(sorted(series_by_service)),
        series=sum(series_by_service.values()),
    )


async def instrument_series(prometheus: HttpClients, wanted: InstrumentQuery) -> InstrumentSeries:
    """Return the values of an instrument over time; the labels are those of ``MAX_SERIES`` series.

    Prometheus computes the groups, so that the answers have ``MAX_GROUPS`` groups at most.
    """
    counted = _selector(wanted, "_count" if wanted.kind in {HISTOGRAM, SUMMARY} else "")
    rank = _rank(wanted, counted)
    points_query = f"max(count_over_time({counted}{_range(MAX_WINDOW_S)}))"
    points, group_count, series_count, labels = await asyncio.gather(
        prometheus.promql(points_query, wanted.end),
        prometheus.promql(f"count({rank})", wanted.end),
        prometheus.promql(f"count(last_over_time({counted}{_range_of(wanted)}))", wanted.end),
        _labels(prometheus, wanted, counted),
    )
    series_total = round(series_count[0][1]) if series_count else 0
    if not group_count:  # no points, or each series has a single one
        return InstrumentSeries(
            series_count=series_total, labels=tuple(labels), window=wanted.window
        )
    window = window_for(MAX_WINDOW_S / points[0][1] if points else 0.0, wanted.window)
    # Prometheus computes in whole milliseconds, and its samples are looked up by their time.
    steps = Steps(round(wanted.start, 3), wanted.end, wanted.step, window)
    times = [round(time, 3) for time in steps.times()]
    if wanted.by:
        rank = f"topk({MAX_GROUPS}, {rank})"
    expressions = _expressions(wanted, counted, window)
    begin, sizes, matrices = await asyncio.gather(
        begin_of(prometheus, counted, wanted.start - window, wanted.end, wanted.step),
        prometheus.promql(rank, wanted.end),
        asyncio.gather(
            *(
                prometheus.promql_matrix(_of_largest(expression, rank, wanted), times)
                for expression in expressions.values()
            )
        ),
    )
    sizes.sort(key=lambda sample: -sample[1])
    found: dict[str, list[Line]] = {labels.get(wanted.by, ""): [] for labels, _ in sizes}
    for statistic, matrix in zip(expressions, matrices, strict=True):
        for series_labels, values in matrix:
            name = statistic or quantile_name(float(series_labels["quantile"]))
            line = Line(name, tuple(values.get(time) for time in times))
            if name == "rate":
                line = _while_beginning(line, times, window, begin)
            found.setdefault(series_labels.get(wanted.by, ""), []).append(line)
    return InstrumentSeries(
        times=tuple(times),
        groups=tuple(Group(value, tuple(lines)) for value, lines in found.items()),
        group_count=round(group_count[0][1]),
        series_count=series_total,
        labels=tuple(labels),
        window=window,
        begin=begin,
    )


def _while_beginning(
    line: Line, times: Sequence[float], window: float, begin: float | None
) -> Line:
    """Return a line of rates that are divided by the time in which there are data."""
    values = [
        None if value is None else value * window / covered_seconds(time, window, begin)
        for time, value in zip(times, line.values, strict=True)
    ]
    return replace(line, values=tuple(values))


async def instrument_exemplars(prometheus: HttpClients, wanted: InstrumentQuery) -> list[Exemplar]:
    """Return the newest exemplars of an instrument, newest first."""
    query = _selector(wanted, "_bucket" if wanted.kind == HISTOGRAM else "")
    found = await prometheus.promql_exemplars(query, wanted.start, wanted.end)
    newest = sorted(found, key=lambda exemplar: -exemplar.time)
    return newest[:MAX_EXEMPLARS]


def _expressions(wanted: InstrumentQuery, counted: str, window: float) -> dict[str, str]:
    """Return the PromQL expression of each statistic.

    The key of the quantiles of a summary is "": their names are in the label ``quantile``.
    """
    group = _group(wanted)
    over_window = _range(window)
    if wanted.kind in AGGREGATIONS:
        newest = f"last_over_time({counted}{over_window})"
        return {"value": f"{AGGREGATIONS[wanted.kind]} {group} ({newest})"}
    rate = f"sum {group} (rate({counted}{over_window}))"
    if wanted.kind == COUNTER:
        return {"rate": rate}
    if wanted.kind == SUMMARY:
        newest = f"last_over_time({_selector(wanted)}{over_window})"
        labels = ", ".join(["quantile", *([_label(wanted.by)] if wanted.by else [])])
        return {"rate": rate, "": f"max by ({labels}) ({newest})"}
    buckets = rate
    if wanted.kind == HISTOGRAM:
        labels = ", ".join(["le", *([_label(wanted.by)] if wanted.by else [])])
        bucket_rates = f"rate({_selector(wanted, '_bucket')}{over_window})"
        buckets = f"sum by ({labels}) ({bucket_rates})"
    else:
        rate = f"histogram_count({rate})"
    quantiles = {
        quantile_name(quantile): f"histogram_quantile({quantile}, {buckets})"
        for quantile in QUANTILES
    }
    return {"rate": rate, **quantiles}


def _rank(wanted: InstrumentQuery, counted: str) -> str:
    """Return the PromQL expression of the size of each group: its newest value, or its increase."""
    group = _group(wanted)
    if wanted.kind in AGGREGATIONS:
        return f"sum {group} (last_over_time({counted}{_range_of(wanted)} @ {_end(wanted)}))"
    rate = f"sum {group} (rate({counted}{_range_of(wanted)} @ {_end(wanted)}))"
    return f"histogram_count({rate})" if wanted.kind == EXPONENTIAL_HISTOGRAM else rate


def _of_largest(expression: str, rank: str, wanted: InstrumentQuery) -> str:
    """Return ``expression`` for the groups of ``rank`` only, at every time the same ones."""
    return f"{expression} and on ({_label(wanted.by)}) {rank}" if wanted.by else expression


async def _labels(
    prometheus: HttpClients, wanted: InstrumentQuery, counted: str
) -> list[LabelValues]:
    series = await prometheus.prometheus_series(counted, wanted.start, wanted.end, MAX_SERIES)
    return label_values(series, HIDDEN_LABELS)


def _selector(wanted: InstrumentQuery, suffix: str = "") -> str:
    matchers = [f"__name__={quoted(wanted.name + suffix)}"]
    matchers.append(
        f"service_name={quoted(wanted.service)}" if wanted.service else ANY_SERVICE[1:-1]
    )
    return f"{{{', '.join(matchers)}}}"


def _group(wanted: InstrumentQuery) -> str:
    return f"by ({_label(wanted.by)})" if wanted.by else ""


def _label(name: str) -> str:
    return quoted(name)


def _range(seconds: float) -> str:
    return f"[{seconds * 1000:.0f}ms]"


def _range_of(wanted: InstrumentQuery) -> str:
    return _range(max(wanted.end - wanted.start, wanted.window, MAX_WINDOW_S))


def _end(wanted: InstrumentQuery) -> str:
    return f"{wanted.end:.3f}"
