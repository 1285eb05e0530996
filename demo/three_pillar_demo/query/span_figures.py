"""Computes rate, errors and durations from the spans of requests, without any metric."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from three_pillar_demo.query.beginning import covered_seconds
from three_pillar_demo.query.interface import Exemplar, RedSample
from three_pillar_demo.query.promql_math import Steps
from three_pillar_demo.query.red_sources import ROOT_SPANS, SPANS
from three_pillar_demo.query.service_figures import PARTS, QUANTILES, Figures


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """What the figures need of one span.

    ``group`` is the name of the service or route. ``receives`` says whether the kind is SERVER or
    CONSUMER; other spans are those without a parent. ``end`` is in seconds since the epoch, and
    ``seconds`` is the duration.
    """

    group: str
    receives: bool
    end: float
    seconds: float
    failed: bool
    trace_id: str


def figures_by_group(
    spans: Iterable[RequestSpan], start: float, end: float, since: float
) -> list[Figures]:
    """Return the figures of each group of ``spans`` from ``start`` to ``end``, sorted by name.

    A group that has SERVER or CONSUMER spans is counted by these alone. ``since`` is the time since
    which the spans are complete. All times are in seconds since the epoch.
    """
    groups = defaultdict[str, list[RequestSpan]](list)
    for span in spans:
        groups[span.group].append(span)
    return [_figures(name, groups[name], (start, end), since) for name in sorted(groups)]


def received(spans: Sequence[RequestSpan]) -> tuple[str, Sequence[RequestSpan]]:
    """Return the source of the figures, and the spans that count: received ones, or else all."""
    requests = [span for span in spans if span.receives]
    return (SPANS, requests) if requests else (ROOT_SPANS if spans else "", spans)


def red_samples(
    spans: Sequence[RequestSpan], steps: Steps, quantiles: Sequence[float], known_since: float
) -> list[RedSample]:
    """Return rate, errors and durations of ``spans`` together at each of the ``steps``.

    A request counts at its end. Samples whose window begins before ``known_since``, in seconds
    since the epoch, are unknown, and so are those before the first request.
    """
    ordered = sorted(spans, key=lambda span: span.end)
    ends = [span.end for span in ordered]
    begin = ordered[0].end - ordered[0].seconds if ordered else None
    samples = []
    for time in steps.times():
        window_start = time - steps.window
        if window_start < known_since or not ends or time < ends[0]:
            samples.append(RedSample(time, None, None, tuple(None for _ in quantiles)))
            continue
        in_window = ordered[bisect_right(ends, window_start) : bisect_right(ends, time)]
        failed = sum(span.failed for span in in_window)
        covered_s = covered_seconds(time, steps.window, begin)
        samples.append(
            RedSample(
                time,
                len(in_window) / covered_s,
                failed / len(in_window) if in_window else None,
                exact_quantiles([span.seconds for span in in_window], quantiles),
                covered_s if covered_s < steps.window else None,
            )
        )
    return samples


def exact_quantiles(
    values: Iterable[float], quantiles: Sequence[float]
) -> tuple[float | None, ...]:
    """Return the values at the nearest rank of each quantile; None without values."""
    ordered = sorted(values)
    if not ordered:
        return tuple(None for _ in quantiles)
    return tuple(ordered[max(0, math.ceil(quantile * len(ordered)) - 1)] for quantile in quantiles)


def _figures(
    name: str, spans: Sequence[RequestSpan], time_range: tuple[float, float], since: float
) -> Figures:
    source, requests = received(spans)
    start, end = time_range
    part_s = (end - start) / PARTS
    counts = [0] * PARTS
    for span in requests:
        counts[min(PARTS - 1, max(0, int((span.end - start) / part_s)))] += 1
    durations = [span.seconds for span in requests]
    return Figures(
        name=name,
        source=source,
        start=max(start, since),
        end=end,
        requests=len(requests),
        failed=sum(span.failed for span in requests),
        quantiles=exact_quantiles(durations, QUANTILES),
        mean=sum(durations) / len(durations),
        rates=tuple(
            count / part_s if start + number * part_s >= since else None
            for number, count in enumerate(counts)
        ),
    )


def exemplar_of_span(service: str, span: RequestSpan) -> Exemplar:
    """Return a span as an exemplar, with the labels of a failed request if it has failed."""
    labels = {"service_name": service, "error_type": "ERROR" if span.failed else ""}
    return Exemplar(span.trace_id, span.seconds, span.end, labels)
