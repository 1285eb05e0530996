"""The fast path ``metrics``: the tally gives what the instruments of the SDK give."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest
import structlog
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricReader,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from tests.field.foreign_app import ForeignApp
from three_pillars.providers import meter_provider
from three_pillars.request_labels import RequestLabels
from three_pillars.request_metrics import LATENCY_BUCKETS, RequestMetrics
from three_pillars.tally_hook import tally_of

SCOPE = "telemetry"
RESOURCE = Resource({"service.name": "tally"})
FILTERS = (TraceBasedExemplarFilter, AlwaysOnExemplarFilter, AlwaysOffExemplarFilter)


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """After each test, restore the logging configuration."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers
    structlog.reset_defaults()


class Request(NamedTuple):
    """A finished request: the number of its application, and what is recorded of it."""

    app: int
    labels: RequestLabels
    seconds: float
    sampled: bool


LABELS = st.builds(
    RequestLabels,
    method=st.sampled_from(["GET", "POST", "_OTHER"]),
    route=st.sampled_from([None, "/a", "/b/{c}"]),
    scheme=st.sampled_from(["http", "https"]),
    protocol_version=st.sampled_from(["1.0", "1.1"]),
    status=st.sampled_from([200, 404, 500]),
    error_type=st.sampled_from([None, "500", "ValueError"]),
)
DURATIONS = st.one_of(st.sampled_from([0.0, *LATENCY_BUCKETS]), st.floats(0, 20))
REQUESTS = st.builds(Request, st.integers(0, 1), LABELS, DURATIONS, st.booleans())


def span_of(number: int, *, sampled: bool) -> Span:
    """Return a span whose ids are ``number``."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(number, number, is_remote=False, trace_flags=flags))


class Recorder:
    """Two applications that share a meter provider with two readers, with or without a tally."""

    def __init__(self, exemplar_filter: type[Any], *, with_tally: bool) -> None:
        self.readers = [InMemoryMetricReader(), InMemoryMetricReader()]
        provider = MeterProvider(
            self.readers, RESOURCE, exemplar_filter=exemplar_filter(), shutdown_on_exit=False
        )
        tally = tally_of(provider, SCOPE) if with_tally else None
        assert with_tally == bool(tally)
        meter = provider.get_meter(SCOPE)
        active = Counter[tuple[str, ...]]()
        self.apps = [RequestMetrics(name, meter, active, tally) for name in ("one", "two")]

    def record(self, number: int, request: Request) -> None:
        """Record ``request``, whose span has the ids ``number``."""
        span = span_of(number, sampled=request.sampled)
        self.apps[request.app].record(request.labels, request.seconds, span)

    def collect(self, reader: int) -> dict[str, Metric]:
        """Return the metrics by name as the given reader collects them now."""
        data = self.readers[reader].get_metrics_data()
        if data is None:
            return {}
        (resource_metrics,) = data.resource_metrics
        assert resource_metrics.resource == RESOURCE
        (scope_metrics,) = resource_metrics.scope_metrics
        assert scope_metrics.scope.name == SCOPE
        names = [metric.name for metric in scope_metrics.metrics]
        assert len(names) == len(set(names))
        return {metric.name: metric for metric in scope_metrics.metrics}


def assert_same(metric: Metric, expected: Metric) -> None:
    """Fail if two metrics differ in anything but times, and in which exemplar a counter has."""
    assert (metric.name, metric.unit, metric.description) == (
        expected.name,
        expected.unit,
        expected.description,
    )
    assert type(metric.data) is type(expected.data)
    assert isinstance(metric.data, Sum | Histogram)
    assert isinstance(expected.data, Sum | Histogram)
    assert metric.data.aggregation_temporality == expected.data.aggregation_temporality
    points: list[Any] = list(metric.data.data_points)
    expected_points: list[Any] = list(expected.data.data_points)
    assert [point.attributes for point in points] == [point.attributes for point in expected_points]
    for point, other in zip(points, expected_points, strict=True):
        assert_same_point(point, other)


def assert_same_point(point: Any, expected: Any) -> None:  # noqa: ANN401  (of two classes)
    """Fail if two points differ."""
    assert type(point) is type(expected)
    assert point.start_time_unix_nano <= point.time_unix_nano
    if isinstance(point, NumberDataPoint):
        assert point.value == expected.value
        assert len(point.exemplars) == len(expected.exemplars)
        assert [exemplar.value for exemplar in point.exemplars] == [
            exemplar.value for exemplar in expected.exemplars
        ]
        return
    assert isinstance(point, HistogramDataPoint)
    assert point.count == expected.count
    assert tuple(point.bucket_counts) == tuple(expected.bucket_counts)
    assert tuple(point.explicit_bounds) == tuple(expected.explicit_bounds)
    assert (point.min, point.max) == (expected.min, expected.max)
    assert math.isclose(point.sum, expected.sum, rel_tol=1e-9)
    assert exemplars_of(point) == exemplars_of(expected)


def exemplars_of(point: HistogramDataPoint) -> list[tuple[object, ...]]:
    """Return all of each exemplar but its time."""
    return [
        (exemplar.value, exemplar.trace_id, exemplar.span_id, exemplar.filtered_attributes)
        for exemplar in point.exemplars
    ]


@settings(deadline=None)
@given(
    st.sampled_from(FILTERS),
    st.lists(st.one_of(REQUESTS, st.sampled_from([0, 1])), max_size=40),
)
def test_a_tally_gives_what_the_instruments_give(
    exemplar_filter: type[Any], steps: Sequence[Request | int]
) -> None:
    """After any requests and collections, both readers get the metrics that the SDK would give."""
    tallied = Recorder(exemplar_filter, with_tally=True)
    expected = Recorder(exemplar_filter, with_tally=False)
    for number, step in enumerate([*steps, 0, 1], 1):
        if isinstance(step, Request):
            tallied.record(number, step)
            expected.record(number, step)
            continue
        metrics = tallied.collect(step)
        expected_metrics = expected.collect(step)
        assert metrics.keys() == expected_metrics.keys()
        for name in metrics.keys() - {"http.server.active_requests"}:
            assert_same(metrics[name], expected_metrics[name])


def test_each_reader_gets_the_newest_exemplar() -> None:
    """One reader does not take the exemplars of another, and none comes twice."""
    recorder = Recorder(TraceBasedExemplarFilter, with_tally=True)
    labels = RequestLabels("GET", "/a", "http", "1.1", 200, None)
    for number in (1, 2):
        recorder.record(number, Request(0, labels, 0.001, sampled=True))
    for reader in (0, 1):
        for expected in ([2], []):
            metrics = recorder.collect(reader)
            for name in ("one.requests", "one.request.latency", "http.server.request.duration"):
                data: Any = metrics[name].data
                (point,) = data.data_points
                assert [exemplar.trace_id for exemplar in point.exemplars] == expected


def test_both_exports_show_the_same() -> None:
    """``/metrics`` shows the same requests with and without a tally, and so does a late reader."""
    pages = []
    for with_tally in (True, False):
        registry = CollectorRegistry()
        provider = meter_provider(RESOURCE, [InMemoryMetricReader()], registry)
        tally = tally_of(provider, SCOPE) if with_tally else None
        metrics = RequestMetrics("one", provider.get_meter(SCOPE), Counter(), tally)
        late_reader = InMemoryMetricReader()
        provider.add_metric_reader(late_reader)
        labels = RequestLabels("GET", None, "http", "1.1", 500, "ValueError")
        metrics.record(labels, 0.25, span_of(1, sampled=True))
        pages.append(sorted(generate_latest(registry).splitlines()))
        assert "one.requests" in str(late_reader.get_metrics_data())
    assert pages[0] == pages[1]
    assert any(b"one_requests_total" in line for line in pages[0])


# --- Where the instruments are used instead ---


def provider_with(reader: MetricReader, **options: Any) -> MeterProvider:  # noqa: ANN401
    """Return a meter provider with one reader."""
    return MeterProvider([reader], shutdown_on_exit=False, **options)


def unusual_providers() -> dict[str, MeterProvider]:
    """Return meter providers for which a tally would give something else than the instruments."""
    delta: dict[type, AggregationTemporality] = {HistogramInstrument: AggregationTemporality.DELTA}
    exponential: dict[type, Aggregation] = {
        HistogramInstrument: ExponentialBucketHistogramAggregation()
    }
    return {
        "view": provider_with(InMemoryMetricReader(), views=[View(instrument_name="one.*")]),
        "delta": provider_with(InMemoryMetricReader(preferred_temporality=delta)),
        "exponential": provider_with(InMemoryMetricReader(preferred_aggregation=exponential)),
        "filter": provider_with(
            InMemoryMetricReader(), exemplar_filter=type("Own", (AlwaysOnExemplarFilter,), {})()
        ),
    }


@pytest.mark.parametrize("name", ["view", "delta", "exponential", "filter"])
def test_an_unusual_provider_gets_instruments(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A provider with views, delta temporality and the like has no tally, without a warning."""
    assert tally_of(unusual_providers()[name], SCOPE) is None
    assert not caplog.records


def test_a_provider_that_is_switched_off_has_no_tally(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_SDK_DISABLED nothing is tallied."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tally_of(provider_with(InMemoryMetricReader()), SCOPE) is None


def test_the_defaults_of_the_otlp_exporter_are_usual() -> None:
    """The reader of the OTLP exporter, which names the aggregation of histograms, has a tally."""
    exporter = OTLPMetricExporter()
    reader = InMemoryMetricReader(exporter._preferred_temporality, exporter._preferred_aggregation)  # noqa: SLF001
    assert tally_of(provider_with(reader), SCOPE)


@pytest.mark.parametrize("broken", ["callback", "configuration", "consumer"])
def test_a_changed_sdk_gets_instruments_and_a_warning(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If a private part of the SDK has changed, requests are still counted, with one warning."""
    reader: Any = InMemoryMetricReader()
    provider: Any = provider_with(reader)
    meter = provider.get_meter(SCOPE)
    if broken == "callback":
        collect = reader._collect  # noqa: SLF001
        reader._collect = partial(collect)  # noqa: SLF001
    elif broken == "configuration":
        del provider._sdk_config  # noqa: SLF001
    else:
        del provider._measurement_consumer  # noqa: SLF001
    tally = tally_of(provider, SCOPE)
    metrics = RequestMetrics("one", meter, Counter(), tally)
    metrics.record(
        RequestLabels("GET", None, "http", "1.1", 200, None), 0.1, span_of(1, sampled=True)
    )
    assert tally is None
    assert str(reader.get_metrics_data()).count("name='one.requests'") == 1
    (warning,) = caplog.messages
    assert warning.startswith("fast path metrics is off, because the OpenTelemetry SDK has changed")


@pytest.mark.parametrize("fast_paths", ["all", "none"])
def test_an_application_counts_its_requests(fast_paths: str) -> None:
    """With and without the fast path, an application has the same three metrics."""
    foreign = ForeignApp(FastAPI(), fast_paths=fast_paths)
    foreign.request("/nowhere")
    foreign.request("/nowhere")
    assert foreign.counts("foreign.requests") == {("GET", "unmatched", "404"): 2}
    assert foreign.counts("foreign.request.latency") == {("unmatched",): 2}
    assert list(foreign.counts("http.server.request.duration").values()) == [2]
