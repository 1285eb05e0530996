"""The types of the queries for instruments: what services measure, and its values over time.

All times are seconds since the epoch, as floats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_INSTRUMENTS = 10_000
"""The maximum number of instruments that a query returns."""
MAX_GROUPS = 12
"""The maximum number of groups, each with one value of the chosen label, that a query returns."""
MAX_EXEMPLARS = 2_000
"""The maximum number of exemplars, the newest ones, that the query for one instrument returns."""
QUANTILES = (0.5, 0.95, 0.99)
"""The quantiles that are computed from the buckets of a histogram."""
INTERVALS_PER_WINDOW = 2.5
"""A window covers at least this number of intervals between two points of a series.

A rate needs two points, and points do not come exactly on time.
"""
MAX_WINDOW_S = 300.0
"""The longest window, in seconds. A series whose newest point is older has no value."""
COUNTER = "counter"
UP_DOWN_COUNTER = "up_down_counter"
GAUGE = "gauge"
HISTOGRAM = "histogram"
EXPONENTIAL_HISTOGRAM = "exponential_histogram"
SUMMARY = "summary"
HISTOGRAMS = (HISTOGRAM, EXPONENTIAL_HISTOGRAM)


@dataclass(frozen=True)
class Instrument:
    """An instrument that services send. Services with the same name, kind and unit share one.

    Attributes:
        name: The name by which a query finds it. From the local store this is the name as it was
            sent, if that is known; from Prometheus it is the name in Prometheus.
        prometheus_name: The name in Prometheus, without a suffix such as ``_bucket``.
        kind: One of the kinds of this module. Prometheus does not know which gauges are up-down
            counters: from there, both are gauges.
        unit: The unit, as it was sent. Prometheus does not keep it: from there it is the unit that
            the name ends in, if there is one.
        description: The description; empty if it is not known. Prometheus does not keep it.
        services: The names of the services that send it, sorted. An empty name stands for senders
            without a name.
        series: The number of its series.
    """

    name: str
    prometheus_name: str
    kind: str
    unit: str = ""
    description: str = ""
    services: tuple[str, ...] = ()
    series: int = 0


@dataclass(frozen=True)
class InstrumentQuery:
    """Which values of an instrument a query returns.

    Attributes:
        name: The ``name`` or the ``prometheus_name`` of the instrument.
        kind: The kind of the instrument.
        start: The time of the first value.
        end: The time of the last value, at the latest.
        step: The seconds between two values, at least.
        window: The seconds before a time that its value covers, at least.
        service: The name of the service; empty for every service.
        by: The label whose values make the groups; empty for one group.
    """

    name: str
    kind: str
    start: float
    end: float
    step: float = 5.0
    window: float = 60.0
    service: str = ""
    by: str = ""


@dataclass(frozen=True)
class Line:
    """The values of one statistic: one for each time; None where there is none.

    ``statistic`` is ``rate`` (of the increases or the observations, per second), ``value``, or a
    quantile such as ``p95``.
    """

    statistic: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Group:
    """The lines of all series that have the same ``value`` of the chosen label.

    The value is empty for the series without this label, and if no label is chosen.
    """

    value: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class LabelValues:
    """A label of an instrument: how many different values it has, and one of them."""

    name: str
    count: int
    example: str


@dataclass(frozen=True)
class InstrumentSeries:
    """The values of one instrument over time.

    Of a counter, there is the rate; of a gauge the average, and of an up-down counter the sum, of
    the newest values of the series; of a histogram the rate and the ``QUANTILES``; of a summary
    the rate, and each of its quantiles, of several series the largest.

    Attributes:
        times: The time of each value.
        groups: The ``MAX_GROUPS`` groups with the largest newest values, the largest first.
        group_count: The number of all groups.
        series_count: The number of all series.
        unread_count: The number of series, the smallest ones, that the values leave out, because
            their points would be too many.
        labels: The labels of the series, sorted by name.
        window: The seconds before a time that its value covers. Series with few points have a
            longer window than the query wants: ``INTERVALS_PER_WINDOW``.
        begin: When the data begin, in seconds since the epoch; None if before all windows. A rate
            is divided by the time of its window since then.
    """

    times: tuple[float, ...] = ()
    groups: tuple[Group, ...] = ()
    group_count: int = 0
    series_count: int = 0
    unread_count: int = 0
    labels: tuple[LabelValues, ...] = ()
    window: float = 0.0
    begin: float | None = None


def quantile_name(quantile: float) -> str:
    """Return the name of a quantile: ``p95`` for 0.95, and ``p99.9`` for 0.999."""
    return f"p{quantile * 100:.12g}"


def label_values(labels: Sequence[dict[str, str]], hidden: Sequence[str]) -> list[LabelValues]:
    """Return the labels of series, sorted by name, without the ``hidden`` ones."""
    values: dict[str, set[str]] = {}
    for series_labels in labels:
        for name, value in series_labels.items():
            values.setdefault(name, set()).add(value)
    return [
        LabelValues(name, _count(name, found, labels), min(found))
        for name, found in sorted(values.items())
        if name not in hidden
    ]


def _count(name: str, found: set[str], labels: Sequence[dict[str, str]]) -> int:
    """Return the number of values of a label; that a series does not have it is one, too."""
    is_missing = "" not in found and any(name not in series_labels for series_labels in labels)
    return len(found) + is_missing


def window_for(interval: float, wanted: float) -> float:
    """Return the window for series with a point each ``interval`` seconds."""
    return min(max(wanted, INTERVALS_PER_WINDOW * interval), max(wanted, MAX_WINDOW_S))
