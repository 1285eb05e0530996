"""Computes rate, errors and durations of one service over time in Prometheus or Tempo."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from three_pillar_demo.query import span_figures
from three_pillar_demo.query.interface import Exemplar, RedSample
from three_pillar_demo.query.lgtm_beginning import begin_of
from three_pillar_demo.query.lgtm_red_series import RedSeries, found_series, presence_query
from three_pillar_demo.query.lgtm_services import (
    Clients,
    complete_since,
    export_interval,
    request_spans,
)
from three_pillar_demo.query.promql_math import Steps
from three_pillar_demo.query.red_sources import SPANS
from three_pillar_demo.query.service_figures import (
    INTERVALS_PER_WINDOW,
    MAX_EXEMPLARS,
    ServiceRed,
    while_beginning,
)


async def service_red(
    clients: Clients, service: str, steps: Steps, quantiles: Sequence[float]
) -> ServiceRed:
    """Return rate, errors and durations of ``service`` at each of the ``steps``."""
    seconds = steps.end - steps.start
    presence = presence_query(seconds + steps.window, service)
    chosen = found_series(await clients.promql(presence, steps.end)).get(service)
    if chosen is None:
        return await _from_spans(clients, service, steps, quantiles)
    interval = await export_interval(clients, chosen, seconds + steps.window, steps.end)
    window = max(steps.window, INTERVALS_PER_WINDOW * interval)
    wide_steps = replace(steps, window=window)
    samples, exemplars = await asyncio.gather(
        _samples(clients, chosen, service, wide_steps, quantiles),
        _exemplars(clients, chosen, service, steps),
    )
    return ServiceRed(chosen.source, window, tuple(samples), tuple(exemplars))


async def _samples(
    clients: Clients, series: RedSeries, service: str, steps: Steps, quantiles: Sequence[float]
) -> list[RedSample]:
    times = [round(time, 3) for time in steps.times()]
    condition = series.of_service(service)
    first = steps.start - steps.window
    selector = series.selector("count", condition)
    begin = await begin_of(clients, selector, first, steps.end, steps.step)
    rates, failed, *durations = await asyncio.gather(
        clients.promql_range(series.count("rate", steps.window, [], condition), times),
        clients.promql_range(series.failed("rate", steps.window, condition), times),
        *(
            clients.promql_range(
                series.quantile(quantile, "rate", steps.window, [], condition), times
            )
            for quantile in quantiles
        ),
    )
    samples = []
    for time in times:
        rate = rates.get(time)
        errors = failed.get(time, 0.0) / rate if rate else None
        values = [by_time.get(time) for by_time in durations]
        in_seconds = tuple(None if value is None else value * series.unit_s for value in values)
        samples.append(RedSample(time, rate, errors, in_seconds))
    return while_beginning(samples, steps.window, begin)


async def _exemplars(
    clients: Clients, series: RedSeries, service: str, steps: Steps
) -> list[Exemplar]:
    """Return the exemplars of a histogram; for Tempo's histogram, the spans themselves."""
    if series.source == SPANS:
        spans = await request_spans(clients, {service}, steps.start, steps.end)
        return [span_figures.exemplar_of_span(service, span) for span in spans if span.receives]
    selector = series.selector("bucket", series.of_service(service))
    exemplars = await clients.promql_exemplars(selector, steps.start, steps.end)
    newest = sorted(exemplars, key=lambda exemplar: exemplar.time)[-MAX_EXEMPLARS:]
    return [replace(exemplar, value=exemplar.value * series.unit_s) for exemplar in newest]


async def _from_spans(
    clients: Clients, service: str, steps: Steps, quantiles: Sequence[float]
) -> ServiceRed:
    """Return the values that the newest spans of a service without metrics give."""
    start = steps.start - steps.window
    spans = await request_spans(clients, {service}, start, steps.end)
    source, requests = span_figures.received(spans)
    if not source:
        return ServiceRed("", steps.window)
    since = complete_since(spans, start)
    samples = span_figures.red_samples(requests, steps, quantiles, since)
    newest = sorted(requests, key=lambda span: span.end)[-MAX_EXEMPLARS:]
    exemplars = tuple(span_figures.exemplar_of_span(service, span) for span in newest)
    return ServiceRed(source, steps.window, tuple(samples), exemplars)
