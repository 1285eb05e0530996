"""The charts of the rate, errors and durations of services, as many as the data have."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.query.red_sources import status_of
from three_pillar_demo.query.service_figures import Figures, ServiceRed
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.names import service_text
from three_pillar_demo.web import formatting, panels
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.panels import LegendEntry, Panel, RedResult
from three_pillar_demo.web.resolution import RESOLUTIONS
from three_pillar_demo.web.service_classes import service_class
from three_pillar_demo.web.view_state import ViewState

SHOP = ("checkout", "payment")
"""The services of the shop, which has charts of them also before the first request."""
MAX_SERVICES = 4
"""The number of services, the busiest ones, that share the charts of rate and error ratio."""
MAX_DURATION_CHARTS = 2
"""The number of services, the first ones of these, that have a chart of durations."""
TWO_REQUESTS = 1.5
"""From this number of requests on, which may be extrapolated, there are at least two."""

RedResults = Mapping[str, QueryResult[ServiceRed]]
"""The rate, errors and durations of services, by name."""


def charted_services(figures: Sequence[Figures], shop: Sequence[str]) -> list[str]:
    """Return the names of the services that have charts: those of the ``shop``, then the busiest.

    The first ``MAX_DURATION_CHARTS``, and the others, are sorted by name, so that they keep their
    place. Services without requests are left out, except those of the shop.
    """
    with_requests = [found for found in figures if found.source]
    busiest = sorted(with_requests, key=lambda found: (-found.requests, found.name))
    others = [found.name for found in busiest if found.name not in shop]
    with_durations = max(0, MAX_DURATION_CHARTS - len(shop))
    rest = others[with_durations : MAX_SERVICES - len(shop)]
    return [*shop, *sorted(others[:with_durations]), *sorted(rest)]


async def query_red(data: PageData, state: ViewState, names: Sequence[str]) -> RedResults:
    """Return the rate, errors and durations of the services ``names``, in this order."""
    results = await asyncio.gather(*(data.service_red(name, state.minutes) for name in names))
    return dict(zip(names, results, strict=True))


def service_panels(
    by_service: RedResults, state: ViewState, classes: Mapping[str, str], own_trace_id: str = ""
) -> list[Panel]:
    """Return the panels of request rate, error ratio, and durations of the first services.

    All of them begin where the first data do; without services there are none. ``classes`` has the
    CSS classes of services, and ``own_trace_id`` is the trace id of the visitor's purchase, or "".
    """
    if not by_service:
        return []
    now = time.time()
    full_range = (now - state.minutes * 60, now)
    samples = {name: _samples(result) for name, result in by_service.items()}
    exemplars = [exemplar for result in by_service.values() for exemplar in _exemplars(result)]
    time_range = panels.range_with_data(samples, exemplars, full_range)
    begins_later = time_range[0] - full_range[0] > RESOLUTIONS[state.minutes].step
    all_panels = [
        panels.rate_panel(samples, time_range, classes),
        panels.error_ratio_panel(samples, time_range, classes),
        *(
            _duration_panel(
                panels.RouteMetrics(
                    service=name,
                    route="",
                    result=samples[name],
                    window=_window(by_service[name]),
                    exemplars=_exemplars(by_service[name]),
                    css_class=classes.get(name) or service_class(name),
                    own_trace_id=own_trace_id,
                ),
                by_service[name],
                time_range,
            )
            for name in list(by_service)[:MAX_DURATION_CHARTS]
        ),
    ]
    return [replace(panel, since=time_range[0] if begins_later else 0) for panel in all_panels]


def _samples(result: QueryResult[ServiceRed]) -> RedResult:
    """Return the samples alone, or the error."""
    return QueryResult(list(result.value.samples) if result.value else None, result.error)


def _window(result: QueryResult[ServiceRed]) -> float:
    return result.value.window if result.value else 0.0


def _exemplars(result: QueryResult[ServiceRed]) -> Sequence[Exemplar]:
    return result.value.exemplars if result.value else ()


def _duration_panel(
    metrics: panels.RouteMetrics, result: QueryResult[ServiceRed], time_range: panels.TimeRange
) -> Panel:
    panel = replace(panels.duration_panel(metrics, time_range), dot_text=dot_text)
    entry = _only_request(result, panel)
    return replace(panel, legend=[entry]) if entry else panel


def dot_text(exemplar: Exemplar) -> str:
    """Return what a dot says: ``cart answered 200 in 25 ms``, or without a status ``cart: 25 ms``.

    Spans and RPC may have no status, or only the type of an error.
    """
    service = service_text(exemplar.labels.get("service_name", "?"), 64)
    status = printable(status_of(exemplar.labels), 40)
    duration = formatting.duration(exemplar.value)
    if not status:
        return f"{service}: {duration}"
    if status == exemplar.labels.get("error_type"):
        return f"{service} failed after {duration}: {status}"
    return f"{service} answered {status} in {duration}"


def _only_request(result: QueryResult[ServiceRed], panel: Panel) -> LegendEntry | None:
    """Return the legend of the newest sample if it has one request: three percentiles say nothing.

    Its duration is that of its exemplar, if there is one.
    """
    if not result.value or not result.value.samples:
        return None
    newest = result.value.samples[-1]
    window = result.value.window
    if not newest.rate or newest.requests(window) >= TWO_REQUESTS:
        return None
    durations = [
        exemplar.value
        for exemplar in result.value.exemplars
        if newest.time - window < exemplar.time <= newest.time
    ]
    duration = durations[-1] if len(durations) == 1 else None
    return LegendEntry("1 request", panel.legend[0].css_class, formatting.duration(duration))
