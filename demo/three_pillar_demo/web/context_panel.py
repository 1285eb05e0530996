"""The chart of durations around the time of one request, in which the request is highlighted."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import replace

from three_pillar_demo.query.interface import NANO, Backends, Exemplar, RedSample, Span
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import chart, panels
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.panels import QUANTILES, Panel
from three_pillar_demo.web.resolution import RESOLUTIONS, on_grid
from three_pillar_demo.web.service_classes import trace_service_classes

CONTEXT_S = 150.0
"""The time before and after a request, in seconds, that the chart on its trace page shows."""

Context = tuple[list[RedSample], Sequence[Exemplar]]
"""The durations of a route around the time of a request, and the exemplars of that time."""


def charted_root(view: TraceView) -> Span | None:
    """Return the root span of a trace if it has a route whose durations can be charted."""
    root = root_span(view)
    return root if root and root.attributes.get("http.route") else None


def root_span(view: TraceView) -> Span | None:
    """Return the span of the first row of the tree; None if the trace has no spans.

    It is the first one whose parent is not in the trace, or else one of a cycle of parents.
    """
    return next((row.node for row in tree_rows(view) if isinstance(row.node, Span)), None)


async def query(backends: Backends, root: Span) -> Context:
    """Query the durations of the route of ``root``, and all exemplars, around its time.

    Raises:
        BackendError: The metrics cannot be queried.
    """
    start, end = _time_range(root)
    resolution = RESOLUTIONS[5]
    samples = backends.red(
        root.service,
        str(root.attributes["http.route"]),
        on_grid(start, resolution.step),
        on_grid(end, resolution.step),
        step=resolution.step,
        window=resolution.window,
        quantiles=QUANTILES,
    )
    return await asyncio.gather(samples, backends.exemplars(start, end))


def panel(view: TraceView, root: Span, result: QueryResult[Context]) -> Panel:
    """Return the chart, from the ``result`` of ``query``."""
    samples, exemplars = result.value or ([], [])
    highlight = chart.Highlight(view.trace_id, root.end / NANO, _duration(root, view))
    route = str(root.attributes["http.route"])
    route_metrics = panels.RouteMetrics(
        root.service,
        route,
        QueryResult(samples, result.error),
        RESOLUTIONS[5].window,
        exemplars,
        trace_service_classes(view)[root.service],
    )
    full_range = _time_range(root)
    start, end = panels.range_with_data({root.service: route_metrics.result}, exemplars, full_range)
    # The request itself is always on the chart, also if the metrics begin after it.
    start = max(full_range[0], min(start, root.start / NANO - RESOLUTIONS[5].step))
    since = start if start - full_range[0] > RESOLUTIONS[5].step else 0.0
    return replace(panels.duration_panel(route_metrics, (start, end), highlight), since=since)


def _time_range(root: Span) -> panels.TimeRange:
    """Return the start and the end of the chart, in seconds since the epoch."""
    request_start = root.start / NANO
    # The chart grows with time until it shows everything after the request.
    now = max(time.time(), request_start + RESOLUTIONS[5].step)
    return request_start - CONTEXT_S, min(request_start + CONTEXT_S, now)


def _duration(root: Span, view: TraceView) -> float:
    """Return the duration of a request, in seconds.

    The duration is the value of the exemplar from the service of ``root``. Without such an
    exemplar, it is the duration of the span ``root``.
    """
    for exemplar in view.exemplars:
        if exemplar.labels.get("service_name") == root.service and math.isfinite(exemplar.value):
            return exemplar.value
    return (root.end - root.start) / NANO
