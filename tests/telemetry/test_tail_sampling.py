"""Exemplars under tail sampling: only traces that the Collector is certain to keep are named."""

import random
from collections import Counter
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Span

from three_pillars import ConfigurationError, Recording, ServiceResource, install
from three_pillars.request_labels import RequestLabels
from three_pillars.request_metrics import RequestMetrics
from three_pillars.tail_sampling import (
    FNV_OFFSET_BASIS,
    KeptTracesFilter,
    TailSampling,
    fnv1a,
    kept_traces_filter,
)
from three_pillars.tally_hook import tally_of
from three_pillars.variables import OpenTelemetryVariables

NOTHING = TailSampling(percentage=0, hash_salt="salt", slow_ms=1000)
SECOND_NS = 1_000_000_000


def exemplar_traces(
    rule: TailSampling,
    attributes: dict[str, Any],
    *,
    seconds_ago: float = 0,
    provider: TracerProvider | None = None,
) -> tuple[int, list[int | None]]:
    """Record 1 within a span that began ``seconds_ago``; return its trace id and the exemplars'."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], exemplar_filter=KeptTracesFilter(rule), shutdown_on_exit=False)
    counter = meters.get_meter("test").create_counter("requests")
    tracer = (provider or TracerProvider(shutdown_on_exit=False)).get_tracer("test")
    start = None if not seconds_ago else _now() - round(seconds_ago * SECOND_NS)
    span = tracer.start_span("request", start_time=start)
    counter.add(1, attributes, trace.set_span_in_context(span))
    span.end()
    data = reader.get_metrics_data()
    assert data is not None
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    return span.get_span_context().trace_id, [exemplar.trace_id for exemplar in point.exemplars]


def _now() -> int:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("clock").start_span("now")
    start: int = span.start_time  # type: ignore[attr-defined]
    return start


@pytest.mark.parametrize(
    ("text", "digest"),
    [(b"", 0xCBF29CE484222325), (b"a", 0xAF63DC4C8601EC8C), (b"foobar", 0x85944171F73967E8)],
)
def test_hash(text: bytes, digest: int) -> None:
    """The hash is FNV-1a with 64 bits, by the vectors of its authors."""
    assert fnv1a(FNV_OFFSET_BASIS, text) == digest


@pytest.mark.parametrize("percentage", [0.5, 10, 33.3, 90])
def test_share(percentage: float) -> None:
    """The share of trace ids is the percentage of the rule."""
    kept = KeptTracesFilter(TailSampling(percentage, "three-pillars", 1000))
    numbers = random.Random(1)  # noqa: S311  (not for cryptography)
    count = sum(kept.is_in_share(numbers.getrandbits(128)) for _ in range(20_000))
    assert count / 200 == pytest.approx(percentage, abs=1)


def test_whole_share() -> None:
    """At 100 percent every measurement in a trace can be an exemplar, and at 0 percent none."""
    trace_id, exemplars = exemplar_traces(TailSampling(100, "salt", 1000), {})
    assert exemplars == [trace_id]
    assert exemplar_traces(NOTHING, {})[1] == []


def test_salt_chooses_other_traces() -> None:
    """Another salt keeps other traces, so the services must have the salt of the Collector."""
    first = KeptTracesFilter(TailSampling(50, "one", 1000))
    second = KeptTracesFilter(TailSampling(50, "two", 1000))
    numbers = random.Random(1)  # noqa: S311
    ids = [numbers.getrandbits(128) for _ in range(1000)]
    assert [first.is_in_share(n) for n in ids] != [second.is_in_share(n) for n in ids]


@pytest.mark.parametrize(
    "attributes",
    [
        {"http.response.status_code": 500},
        {"http.response.status_code": 599},
        {"status": "503", "method": "POST"},
    ],
)
def test_failed_requests(attributes: dict[str, Any]) -> None:
    """A request that was answered with 500 to 599 is an exemplar, whatever its trace id is."""
    trace_id, exemplars = exemplar_traces(NOTHING, attributes)
    assert exemplars == [trace_id]


@pytest.mark.parametrize(
    "attributes",
    [
        {"http.response.status_code": 499},
        {"http.response.status_code": 200},
        {"status": "5"},
        {"status": "500x"},
        {"endpoint": "/checkout"},
    ],
)
def test_other_requests(attributes: dict[str, Any]) -> None:
    """A quick request without a failure outside of the share is no exemplar."""
    assert exemplar_traces(NOTHING, attributes)[1] == []


def test_slow_requests() -> None:
    """A span that lasts as long as the rule says is an exemplar, and a quicker one is not."""
    # The value of the measurement, 1, does not matter: it need not be a duration in seconds.
    trace_id, exemplars = exemplar_traces(NOTHING, {}, seconds_ago=1.2)
    assert exemplars == [trace_id]
    long = TailSampling(percentage=0, hash_salt="salt", slow_ms=60_000)
    assert exemplar_traces(long, {}, seconds_ago=1.2)[1] == []


def test_not_sampled() -> None:
    """A span that the SDK's own sampler has dropped is never an exemplar."""
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    rule = TailSampling(100, "salt", 1000)
    assert exemplar_traces(rule, {"status": "500"}, provider=provider)[1] == []


def test_no_span() -> None:
    """A measurement outside of a span is never an exemplar."""
    kept = KeptTracesFilter(TailSampling(100, "salt", 1000))
    assert not kept.should_sample(1, 0, {"status": "500"}, Context())


def test_foreign_span() -> None:
    """A span of another implementation, without a start time, is judged by status and share."""

    class Foreign(trace.NonRecordingSpan):
        """A span that has a context and nothing else."""

    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    span: Span = Foreign(trace.SpanContext(1, 1, is_remote=False, trace_flags=sampled))
    context = trace.set_span_in_context(span, Context())
    assert not KeptTracesFilter(NOTHING).should_sample(9, 9 * SECOND_NS, {}, context)
    assert KeptTracesFilter(NOTHING).should_sample(9, 0, {"status": "500"}, context)


@pytest.mark.parametrize(
    ("percentage", "salt", "slow_ms", "message"),
    [
        (-1, "salt", 1000, "from 0 to 100"),
        (100.5, "salt", 1000, "from 0 to 100"),
        (10, "", 1000, "hash_salt"),
        (10, "salt", 0, "slow_ms"),
    ],
)
def test_invalid_rule(percentage: float, salt: str, slow_ms: int, message: str) -> None:
    """A rule that the Collector would understand in another way is refused by name."""
    with pytest.raises(ValueError, match=message):
        TailSampling(percentage, salt, slow_ms)


@pytest.mark.parametrize(
    ("variable", "expected"), [("trace_based", KeptTracesFilter), ("always_off", type(None))]
)
def test_variable_of_the_sdk(variable: str, expected: type) -> None:
    """The filter takes the place of the SDK's ``trace_based`` one, and ``always_off`` is obeyed."""
    variables = OpenTelemetryVariables(metrics_exemplar_filter=variable)
    assert type(kept_traces_filter(NOTHING, variables)) is expected
    assert kept_traces_filter(None, variables) is None


def test_exemplars_of_all_traces() -> None:
    """Exemplars of all traces cannot be had together with tail sampling, and one line says so."""
    variables = OpenTelemetryVariables(metrics_exemplar_filter="always_on")
    with pytest.raises(ConfigurationError, match="OTEL_METRICS_EXEMPLAR_FILTER=always_on: "):
        kept_traces_filter(NOTHING, variables)


def test_rule_of_given_providers() -> None:
    """A rule is refused together with providers, on whose exemplars it would have no effect."""
    providers: Any = object()
    recording = Recording(tail_sampling=NOTHING)
    with pytest.raises(ValueError, match="tail_sampling has no effect on providers"):
        install(FastAPI(), ServiceResource("shop"), recording=recording, providers=providers)


@pytest.mark.parametrize(
    ("status", "seconds", "expected"), [(200, 0.01, []), (503, 0.01, [1]), (200, 1.1, [1])]
)
def test_fast_path_of_metrics(status: int, seconds: float, expected: list[int]) -> None:
    """The fast path ``metrics`` asks the filter: only traces that are kept become exemplars."""
    reader = InMemoryMetricReader()
    meters = MeterProvider(
        [reader], exemplar_filter=KeptTracesFilter(NOTHING), shutdown_on_exit=False
    )
    tally = tally_of(meters, "telemetry")
    assert tally
    metrics = RequestMetrics("shop", meters.get_meter("telemetry"), Counter(), tally)
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    span = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False, trace_flags=sampled))
    metrics.record(RequestLabels("GET", "/", "http", "1.1", status, None), seconds, span)
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: [exemplar.trace_id for exemplar in point.exemplars]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    names = ("shop.requests", "shop.request.latency", "http.server.request.duration")
    assert found == dict.fromkeys(names, expected)
