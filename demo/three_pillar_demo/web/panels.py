"""The panels of the web UI: charts with a title and a legend."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from three_pillar_demo.query.interface import Exemplar, RedSample
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.names import service_text
from three_pillar_demo.web import chart, formatting
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.element_ids import element_id
from three_pillar_demo.web.quantile_support import supported_sample
from three_pillar_demo.web.rate_ticks import rate_ticks
from three_pillar_demo.web.service_classes import service_class

RedResult = QueryResult[list[RedSample]]
"""The rate, errors and durations of one service over time, or the error of their query."""
TimeRange = tuple[float, float]
"""Start and end, in seconds since the epoch."""

QUANTILES = (0.5, 0.95, 0.99)
"""The quantiles of the duration that are shown."""
UNKNOWN_SAMPLE = RedSample(0.0, None, None, tuple(None for _ in QUANTILES))
"""A sample in which all values are unknown."""
EMPTY_RATE_TOP = 1.0
"""The end of the rate axis, in requests a second, without any request; else the rates decide."""
MIN_ERROR_RATIO_TOP = 0.1
"""The error ratio axis always reaches at least this ratio: 10 %."""
EMPTY_DURATION_TOP = 0.5
"""The end of the duration axis, in seconds, without any duration."""
MIN_DURATION_TOP = 0.001
"""The duration axis always reaches at least this duration, in seconds."""
MIN_RANGE_S = 20.0
"""The shortest time axis, in seconds, of charts whose data have just begun."""


@dataclass(frozen=True)
class LegendEntry:
    """One entry of a legend: the name of a series, its CSS class, and its value as text."""

    name: str
    css_class: str
    value: str


@dataclass(frozen=True)
class Panel:
    """A chart with its title and legend.

    ``key`` identifies the panel on the page. ``error`` says why data are missing, and is "" if
    none are missing. ``since`` is the time at which the data begin, in seconds since the epoch, if
    the chart begins there; 0 if it shows the whole time range. ``dot_text`` says what an exemplar
    is, if it is not the duration of a request.
    """

    key: str
    title: str
    plot: chart.Plot
    legend: list[LegendEntry]
    error: str = ""
    since: float = 0.0
    dot_text: Callable[[Exemplar], str] | None = None


@dataclass(frozen=True)
class RouteMetrics:
    """The metrics of one route of a service, or of all its routes if ``route`` is empty.

    ``window`` is the number of seconds that each sample of ``result`` covers. ``exemplars`` may be
    of any route and service; ``contains`` tells if one is of this route. ``css_class`` is the CSS
    class of the service. ``own_trace_id`` is the trace id of the visitor's purchase, or "".
    """

    service: str
    route: str
    result: RedResult
    window: float
    exemplars: Sequence[Exemplar]
    css_class: str
    own_trace_id: str = ""

    def contains(self, exemplar: Exemplar) -> bool:
        """Return True if the exemplar belongs to this route of this service."""
        labels = exemplar.labels
        is_of_route = self.route in {"", labels.get("http_route")}
        return is_of_route and labels.get("service_name") == self.service


def range_with_data(
    results: Mapping[str, RedResult], exemplars: Sequence[Exemplar], time_range: TimeRange
) -> TimeRange:
    """Return ``time_range`` without the time before the first value, or exemplar, of a service.

    At least ``MIN_RANGE_S`` remain. Without any data, or if a query has no answer yet, which may
    have earlier data, the whole ``time_range`` is returned. The keys of ``results`` are the names
    of the services.
    """
    start, end = time_range
    times = [
        sample.time
        for result in results.values()
        for sample in result.value or []
        if sample.rate is not None
    ]
    times += [
        exemplar.time for exemplar in exemplars if exemplar.labels.get("service_name") in results
    ]
    times_in_range = [time for time in times if start <= time <= end]
    if not times_in_range or any(result.value is None for result in results.values()):
        return time_range
    return min(*times_in_range, end - MIN_RANGE_S), end


def rate_panel(
    results: Mapping[str, RedResult], time_range: TimeRange, classes: Mapping[str, str]
) -> Panel:
    """Return the panel with the request rate of each service.

    The keys of ``results`` are the names of the services, and ``classes`` has their CSS classes.
    """
    rates = {
        service: {sample.time: sample.rate for sample in result.value or []}
        for service, result in results.items()
    }
    return _shared_panel("rate", "Requests", rates, results, time_range, classes)


def error_ratio_panel(
    results: Mapping[str, RedResult], time_range: TimeRange, classes: Mapping[str, str]
) -> Panel:
    """Return the panel with the error ratio of each service.

    The keys of ``results`` are the names of the services, and ``classes`` has their CSS classes.
    """
    ratios = {
        service: {sample.time: sample.errors for sample in result.value or []}
        for service, result in results.items()
    }
    return _shared_panel("errors", "Error ratio", ratios, results, time_range, classes)


def duration_panel(
    metrics: RouteMetrics, time_range: TimeRange, highlight: chart.Highlight | None = None
) -> Panel:
    """Return the panel with the duration quantiles and the exemplars of one route of a service.

    With a ``highlight``, the chart marks the histogram bucket and the end of the highlighted
    request. The legend then has the quantiles at the end of this request. Without a ``highlight``,
    the legend has the newest quantiles. Quantiles of too few requests are left out everywhere.
    """
    service = service_text(metrics.service, 64)
    samples = [
        supported_sample(sample, QUANTILES, metrics.window) for sample in metrics.result.value or []
    ]
    data = chart.ChartData(
        *time_range,
        times=[sample.time for sample in samples],
        series=_quantile_series(metrics.css_class, samples),
        exemplars=[exemplar for exemplar in metrics.exemplars if metrics.contains(exemplar)],
        highlight=highlight,
        own_trace_id=metrics.own_trace_id,
    )
    title = f"Duration of {service}"
    has_values = bool(data.exemplars) or any(any(line.values) for line in data.series)
    min_top = MIN_DURATION_TOP if has_values else EMPTY_DURATION_TOP
    legend = _quantile_legend(data.series, _sample_at(samples, highlight))
    if highlight:
        title += f" {printable(metrics.route, 80)}"
        min_top = max([min_top, *filter(math.isfinite, highlight.bucket)])
        legend += _highlight_legend(highlight)
    plot = chart.draw_chart(data, formatting.duration, min_top=min_top)
    key = element_id("duration", metrics.service)
    return Panel(key, title, plot, legend, metrics.result.error)


def _shared_panel(  # noqa: PLR0913, PLR0917  (what is drawn, of which services, and when)
    key: str,
    title: str,
    values: Mapping[str, Mapping[float, float | None]],
    results: Mapping[str, RedResult],
    time_range: TimeRange,
    classes: Mapping[str, str],
) -> Panel:
    """Return a panel with one line for each service.

    ``values`` has the values of each service, by the time of the value. ``key`` is the kind of the
    values: ``rate`` or ``errors``.
    """
    formatter = formatting.rate if key == "rate" else formatting.percentage
    times = sorted({time for by_time in values.values() for time in by_time})
    css_classes = {service: classes.get(service) or service_class(service) for service in values}
    series = [
        chart.Series(
            service_text(service, 64), css_classes[service], [by_time.get(time) for time in times]
        )
        for service, by_time in values.items()
    ]
    data = chart.ChartData(*time_range, times=times, series=series)
    known = [value for by_time in values.values() for value in by_time.values()]
    ticks = rate_ticks(known) if key == "rate" else None
    min_top = MIN_ERROR_RATIO_TOP
    if key == "rate":
        min_top = 0.0 if any(known) else EMPTY_RATE_TOP
    plot = chart.draw_chart(data, formatter, min_top=min_top, ticks=ticks)
    legend = [
        LegendEntry(service_text(service, 64), css_classes[service], formatter(_newest(by_time)))
        for service, by_time in values.items()
    ]
    errors = [result.error for result in results.values() if result.error]
    return Panel(key, title, plot, legend, errors[0] if errors else "")


def _newest(by_time: Mapping[float, float | None]) -> float | None:
    values = list(by_time.values())
    return values[-1] if values else None


def _quantile_series(css_class: str, samples: Sequence[RedSample]) -> list[chart.Series]:
    series = []
    for index, quantile in enumerate(QUANTILES):
        name = f"p{quantile * 100:.0f}"
        values = [sample.quantiles[index] for sample in samples]
        series.append(chart.Series(name, f"{css_class} {name}", values))
    return series


def _sample_at(samples: Sequence[RedSample], highlight: chart.Highlight | None) -> RedSample:
    """Return the first sample at or after the end of the highlighted request.

    If no request is highlighted, or all samples are earlier, return the newest sample. If there are
    no samples at all, return ``UNKNOWN_SAMPLE``.
    """
    if highlight:
        for sample in samples:
            if sample.time >= highlight.time:
                return sample
    return samples[-1] if samples else UNKNOWN_SAMPLE


def _quantile_legend(series: Sequence[chart.Series], sample: RedSample) -> list[LegendEntry]:
    return [
        LegendEntry(line.name, line.css_class, formatting.duration(value))
        for line, value in zip(series, sample.quantiles, strict=True)
    ]


def _highlight_legend(highlight: chart.Highlight) -> list[LegendEntry]:
    return [
        LegendEntry("bucket", "bucket", formatting.bucket_range(*highlight.bucket)),
        LegendEntry("ended", "end-time", formatting.clock(highlight.time)),
    ]
