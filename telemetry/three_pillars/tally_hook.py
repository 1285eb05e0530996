"""Put the metrics of a tally into what the readers of a meter provider collect.

The specification of OpenTelemetry has a ``MetricProducer`` for this, which a reader asks for
metrics from elsewhere; the SDK for Python does not have it. So the function that a reader calls to
collect is replaced by one that adds the metrics. That needs parts of the SDK that are not public.
Where they are not as expected, there is no tally, and the instruments of the SDK are used.
"""

import logging
from collections.abc import Callable
from time import time_ns
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Counter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.view import (
    DefaultAggregation,
    ExplicitBucketHistogramAggregation,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .request_tally import RequestTally
from .tail_sampling import KeptTracesFilter
from .tally_points import metrics

Collect = Callable[..., MetricsData | None]

SAMPLED_BY_FILTER: dict[type, tuple[bool, bool]] = {
    TraceBasedExemplarFilter: (True, False),
    AlwaysOnExemplarFilter: (True, True),
    AlwaysOffExemplarFilter: (False, False),
}
"""For each filter, whether it samples the measurement of a sampled span, and any other."""

_tallies: WeakKeyDictionary[MeterProvider, RequestTally] = WeakKeyDictionary()


def tally_of(provider: MeterProvider, scope_name: str) -> RequestTally | None:
    """Return the tally of ``provider``, whose metrics all its readers collect from now on.

    The metrics belong to the instrumentation scope ``scope_name``. Applications that share a
    provider share its tally, so that their metrics of the same name are one. Return None if the
    tally would not give what the instruments give (the provider has views, another exemplar
    filter, or a reader with another temporality or aggregation), and if the SDK is switched off or
    has changed.
    """
    if provider in _tallies:
        return _tallies[provider]
    try:
        is_switched_off = isinstance(provider.get_meter(scope_name), NoOpMeter)
        if is_switched_off or not _is_usual(provider):
            return None
        tally = _new_tally(provider)
        _attach(tally, provider, InstrumentationScope(scope_name))
    except (AttributeError, KeyError, TypeError) as error:
        logging.getLogger(__name__).warning(
            f"fast path metrics is off, because the OpenTelemetry SDK has changed: {error}"
        )
        return None
    _tallies[provider] = tally
    return tally


# The rest of the module uses what is not public in the SDK.
# ruff: noqa: SLF001


def _is_usual(provider: Any) -> bool:  # noqa: ANN401  (its private attributes are not typed)
    configuration = provider._sdk_config
    known = (*SAMPLED_BY_FILTER, KeptTracesFilter)
    if configuration.views or type(configuration.exemplar_filter) not in known:
        return False
    return all(_is_usual_reader(reader) for reader in provider._metric_readers)


def _is_usual_reader(reader: Any) -> bool:  # noqa: ANN401
    temporality = _by_public_class(reader._instrument_class_temporality)
    aggregation = _by_public_class(reader._instrument_class_aggregation)
    histogram = aggregation[Histogram]
    return (
        temporality[Counter] is temporality[Histogram] is AggregationTemporality.CUMULATIVE
        and type(aggregation[Counter]) is DefaultAggregation
        and (
            type(histogram) is DefaultAggregation
            or (
                type(histogram) is ExplicitBucketHistogramAggregation
                and histogram._boundaries is None
                and histogram._record_min_max
            )
        )
    )


def _by_public_class(values: dict[type, Any]) -> dict[type, Any]:
    """Return ``values`` by public classes of instruments, whose subclasses are its keys."""
    return {
        public: value
        for public in (Counter, Histogram)
        for private, value in values.items()
        if issubclass(private, public)
    }


def _new_tally(provider: Any) -> RequestTally:  # noqa: ANN401
    exemplar_filter = provider._sdk_config.exemplar_filter
    if isinstance(exemplar_filter, KeptTracesFilter):
        return RequestTally(
            samples_sampled=True, samples_unsampled=False, is_kept=exemplar_filter.is_kept
        )
    sampled, unsampled = SAMPLED_BY_FILTER[type(exemplar_filter)]
    return RequestTally(samples_sampled=sampled, samples_unsampled=unsampled)


def _attach(tally: RequestTally, provider: Any, scope: InstrumentationScope) -> None:  # noqa: ANN401
    """Make the readers of ``provider``, and those that are added later, collect from ``tally``."""
    consumer = provider._measurement_consumer
    configuration = provider._sdk_config
    collect_instruments: Collect = consumer.collect
    collected: WeakKeyDictionary[MetricReader, int] = WeakKeyDictionary()

    def collect(reader: MetricReader, timeout_millis: float = 10_000) -> MetricsData | None:
        data = collect_instruments(reader, timeout_millis=timeout_millis)
        number, series = tally.snapshot()
        if not series:
            return data
        own_metrics = metrics(series, time_ns(), collected.get(reader, 0))
        collected[reader] = number
        own = ScopeMetrics(scope, own_metrics, scope.schema_url or "")
        return _with_scope(data, own, configuration.resource)

    for reader in provider._metric_readers:
        if not callable(reader._set_collect_callback) or reader._collect != collect_instruments:
            raise AttributeError("a reader collects in another way")
    consumer.collect = collect
    for reader in provider._metric_readers:
        reader._set_collect_callback(collect)


def _with_scope(data: MetricsData | None, own: ScopeMetrics, resource: Any) -> MetricsData:  # noqa: ANN401
    """Return ``data`` with the metrics of ``own``, in the same scope if ``data`` has it."""
    if data is None or not data.resource_metrics:
        return MetricsData([ResourceMetrics(resource, [own], resource.schema_url)])
    scopes = data.resource_metrics[0].scope_metrics
    for number, scope in enumerate(scopes):
        if scope.scope == own.scope:
            merged = ScopeMetrics(own.scope, [*own.metrics, *scope.metrics], scope.schema_url)
            scopes = [*scopes[:number], merged, *scopes[number + 1 :]]
            break
    else:
        scopes = [own, *scopes]
    first = data.resource_metrics[0]
    return MetricsData(
        [ResourceMetrics(first.resource, scopes, first.schema_url), *data.resource_metrics[1:]]
    )
