"""The series in Prometheus from which rate, errors and durations come, and their PromQL."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.red_sources import (
    RED_METRICS,
    ROUTE_LABELS,
    RPC_FAILURES,
    SPANS,
    STATUS_LABELS,
)

SPAN_METRIC = "traces_spanmetrics_latency"
"""The histogram of durations in seconds that Tempo computes from spans."""
RECEIVED_SPANS = 'span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"'
NOT_COLLECTOR = 'job!~"otelcol.*"'
"""The condition that leaves out the OpenTelemetry Collector's own requests."""
FAILED_RPC = "|".join([*RPC_FAILURES, *RPC_FAILURES.values()])
HTTP_FAILURES = tuple(f'{label}=~"5.."' for label in STATUS_LABELS[:2])
OTHER_FAILURES = (
    *(f'{label}=~"{FAILED_RPC}"' for label in STATUS_LABELS[2:4]),
    ", ".join([*(f'{label}=""' for label in STATUS_LABELS[:4]), 'error_type!=""']),
)


@dataclass(frozen=True)
class RedSeries:
    """How the histogram of one source is stored in Prometheus.

    Attributes:
        source: What the figures come from, as in ``service_figures.Figures``.
        metric: The name of the histogram.
        unit_s: The unit of its values, in seconds.
        is_native: Whether it is a native histogram, which an exponential one becomes.
        conditions: The matchers that select its series.
        service_label: The label with the name of the service.
        status_labels: The labels that say how a request ended.
        route_labels: The labels that say what was requested.
        failures: The matchers that select series of failed requests; no series matches two.
    """

    source: str
    metric: str
    unit_s: float
    is_native: bool = False
    conditions: str = NOT_COLLECTOR
    service_label: str = "service_name"
    status_labels: tuple[str, ...] = STATUS_LABELS
    route_labels: tuple[str, ...] = ROUTE_LABELS
    failures: tuple[str, ...] = (*HTTP_FAILURES, *OTHER_FAILURES)

    @property
    def counted_name(self) -> str:
        """The name of the series that has the number of requests."""
        return self.metric if self.is_native else f"{self.metric}_count"

    def selector(self, suffix: str, *conditions: str) -> str:
        """Return PromQL's selector of the series with this suffix that meet all conditions."""
        matchers = ", ".join(filter(None, [self.conditions, *conditions]))
        name = self.metric if self.is_native else f"{self.metric}_{suffix}"
        return f"{name}{{{matchers}}}"

    def of_service(self, service: str) -> str:
        """Return the matcher of one service."""
        return f"{self.service_label}={quoted(service)}"

    def count(self, function: str, seconds: float, by: Sequence[str], *conditions: str) -> str:
        """Return PromQL for ``function``, rate or increase, of the number of requests."""
        return self._total("count", function, seconds, by, *conditions)

    def sum(self, function: str, seconds: float, by: Sequence[str], *conditions: str) -> str:
        """Return PromQL for ``function``, rate or increase, of the sum of all durations."""
        return self._total("sum", function, seconds, by, *conditions)

    def quantile(
        self, quantile: float, function: str, seconds: float, by: Sequence[str], *conditions: str
    ) -> str:
        """Return PromQL for a quantile of the durations."""
        labels = by if self.is_native else [*by, "le"]
        buckets = over(function, self.selector("bucket", *conditions), seconds)
        return f"histogram_quantile({quantile}, sum by ({', '.join(labels)}) ({buckets}))"

    def failed(self, function: str, seconds: float, *conditions: str) -> str:
        """Return PromQL for ``function`` of the number of failed requests; no result is none."""
        alternatives = [
            over(function, self.selector("count", failure, *conditions), seconds)
            for failure in self.failures
        ]
        total = f"sum({' or '.join(alternatives)})"
        return f"histogram_count({total})" if self.is_native else total

    def _total(
        self, what: str, function: str, seconds: float, by: Sequence[str], *conditions: str
    ) -> str:
        increase = over(function, self.selector(what, *conditions), seconds)
        total = f"sum by ({', '.join(by)}) ({increase})"
        return f"histogram_{what}({total})" if self.is_native else total


SERIES = (
    *(
        RedSeries(source.name, source.metric, source.unit_s, is_native=is_native)
        for source in RED_METRICS
        for is_native in (False, True)
    ),
    RedSeries(
        SPANS,
        SPAN_METRIC,
        1.0,
        conditions=RECEIVED_SPANS,
        service_label="service",
        status_labels=("status_code",),
        route_labels=("span_name",),
        failures=('status_code="STATUS_CODE_ERROR"',),
    ),
)
"""All series in the order of preference: the first one that a service has is used."""


def over(function: str, selector: str, seconds: float) -> str:
    """Return PromQL for a function over the last ``seconds`` of the series of a selector."""
    return f"{function}({selector}[{seconds * 1000:.0f}ms])"


def presence_query(seconds: float, service: str = "") -> str:
    """Return PromQL for the series that have points in the last ``seconds``, by name and service.

    ``service`` limits it to one service.
    """
    queries = []
    for label in ("service_name", "service"):
        members = [series for series in SERIES if series.service_label == label]
        names = "|".join(re.escape(series.counted_name) for series in members)
        wanted = f"{label}={quoted(service)}" if service else f'{label}!=""'
        selector = f'{{__name__=~"{names}", {members[0].conditions}, {wanted}}}'
        newest = over("last_over_time", selector, seconds)
        queries.append(f"count by (__name__, {label}) ({newest})")
    return " or ".join(queries)


def found_series(vector: Sequence[tuple[Mapping[str, str], float]]) -> dict[str, RedSeries]:
    """Return the series that count for each service, from the result of ``presence_query``."""
    names = {(labels["__name__"], _service(labels)) for labels, _ in vector}
    services = {service for _, service in names}
    return {
        service: next(series for series in SERIES if (series.counted_name, service) in names)
        for service in services
    }


def _service(labels: Mapping[str, str]) -> str:
    return labels.get("service_name") or labels.get("service") or ""
