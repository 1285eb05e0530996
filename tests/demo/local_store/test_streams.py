"""Tests that the store never takes two different items for one, and names what it cannot keep."""

import time

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.demo.local_store.messages import (
    DELTA,
    NANO,
    attributes,
    counter,
    exemplar,
    gauge,
    histogram,
    histogram_point,
    log_record,
    log_request,
    metric_request,
    number_point,
    span,
    trace_request,
)
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.local_store.point_table import MAX_SENDERS, MAX_SERIES

NOW = time.time_ns()
START = NOW - 100 * NANO
ANOTHER = "rejected: 1 x data point: another one of the same series and time is stored"


def send(in_memory_store: InMemoryStore, request: ExportMetricsServiceRequest) -> str:
    """Send metrics; return the text of ``partial_success``, which is empty if all are stored."""
    response = in_memory_store.send("metrics", request)
    assert response.status_code == 200
    message = ExportMetricsServiceResponse.FromString(response.content)
    return str(message.partial_success.error_message)


def values(in_memory_store: InMemoryStore) -> list[float]:
    """Return the values of all stored points, in ascending order."""
    rows = in_memory_store.rows("SELECT value FROM point ORDER BY value")
    return [value for (value,) in rows]


def test_requests_whose_records_have_no_time_are_never_retries(
    in_memory_store: InMemoryStore,
) -> None:
    """Two equal log records without a time are two events, though their requests are equal."""
    record = log_record("tick")
    record.time_unix_nano = 0
    for _ in range(3):
        assert in_memory_store.send("logs", log_request(record)).status_code == 200
    assert in_memory_store.rows("SELECT count(*) FROM log") == [(3,)]


def test_a_retry_is_told_again_what_was_rejected(in_memory_store: InMemoryStore) -> None:
    """A retry of a request whose response was lost gets the same partial success."""
    points = [number_point(1, at=NOW), number_point(2, at=NOW)]
    request = metric_request(gauge("heat", *points))
    assert send(in_memory_store, request) == ANOTHER
    assert send(in_memory_store, request) == ANOTHER
    assert values(in_memory_store) == [1.0]


def test_attributes_of_different_types_are_different_series(
    in_memory_store: InMemoryStore,
) -> None:
    """Points whose attributes differ only in the type of a value are all kept."""
    points = [
        number_point(number, at=NOW, attributes=attributes(key=value))
        for number, value in enumerate((1, "1", 1.0, True, "true", b"1"))
    ]
    assert send(in_memory_store, metric_request(gauge("heat", *points))) == ""
    assert values(in_memory_store) == [float(number) for number in range(len(points))]


def test_names_that_become_the_same_are_different_series(in_memory_store: InMemoryStore) -> None:
    """Metrics and labels that Prometheus would name alike are all kept, with their labels."""
    both = [KeyValue(key=key, value=AnyValue(string_value=key)) for key in ("a_b", "a.b")]
    metrics = [
        gauge("disk.used", number_point(1, at=NOW, attributes=both[:1])),
        gauge("disk_used", number_point(2, at=NOW, attributes=both[:1])),
        gauge("disk_used", number_point(3, at=NOW, attributes=both[1:])),
        gauge("disk_used", number_point(4, at=NOW, attributes=both)),
        gauge("x" * 300, number_point(5, at=NOW)),
        gauge("x" * 301, number_point(6, at=NOW)),
    ]
    for metric in metrics:
        assert send(in_memory_store, metric_request(metric)) == ""
    assert values(in_memory_store) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    labels = in_memory_store.rows("SELECT labels ->> 'a_b' FROM points WHERE value = 4")
    assert labels == [("a.b;a_b",)]
    names = in_memory_store.rows("SELECT count(DISTINCT name) FROM series WHERE name LIKE 'xxx%'")
    assert names == [(2,)]


def test_type_unit_and_scope_separate_series(in_memory_store: InMemoryStore) -> None:
    """Metrics with the same name and different type, unit, temporality or scope are all kept."""
    point = {"at": NOW, "start": START}
    metrics = [
        gauge("heat", number_point(1, **point)),
        counter("heat", number_point(2, **point), monotonic=False),
        counter("heat_total", number_point(3, **point)),
        counter("heat_total", number_point(4, **point), temporality=DELTA),
        gauge("heat", number_point(5, **point)),
    ]
    metrics[-1].unit = "Cel"
    for metric in metrics:
        assert send(in_memory_store, metric_request(metric)) == ""
    for number in range(2):
        request = metric_request(gauge("heat", number_point(6 + number, **point)))
        scope = request.resource_metrics[0].scope_metrics[0].scope
        scope.name = "other"
        scope.attributes.extend(attributes(number=number))
        assert send(in_memory_store, request) == ""
    assert values(in_memory_store) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_instances_without_an_id_are_told_apart(in_memory_store: InMemoryStore) -> None:
    """Two processes without an instance id, told apart by another attribute, are both kept."""
    for pid in (1, 2):
        request = metric_request(counter("sold", number_point(pid, at=NOW, start=START)))
        resource = request.resource_metrics[0].resource
        del resource.attributes[:]
        resource.attributes.extend(attributes(service__name="shop", process__pid=pid))
        assert send(in_memory_store, request) == ""
    assert values(in_memory_store) == [1.0, 2.0]


def test_senders_that_look_alike_are_told_apart_by_their_start(
    in_memory_store: InMemoryStore,
) -> None:
    """Two alike processes that count at the same time each have a series, after a restart too."""
    for second in (0, 10, 20):
        for process, start in enumerate((START, START + NANO)):
            value = 100 * process + second
            point = number_point(value, at=NOW + second * NANO, start=start)
            assert send(in_memory_store, metric_request(counter("sold", point))) == ""
    rows = in_memory_store.rows("SELECT series, value FROM point ORDER BY series, time")
    assert rows == [(1, 0.0), (1, 10.0), (1, 20.0), (2, 100.0), (2, 110.0), (2, 120.0)]


def test_a_restarted_sender_continues_its_series(in_memory_store: InMemoryStore) -> None:
    """A later start is a restart and no other sender; a late point of the run before is kept."""
    points = [
        number_point(7, at=NOW, start=START),
        number_point(1, at=NOW + 20 * NANO, start=NOW + 10 * NANO),
        number_point(8, at=NOW + 5 * NANO, start=START),
    ]
    for point in points:
        assert send(in_memory_store, metric_request(counter("sold", point))) == ""
    assert in_memory_store.rows("SELECT DISTINCT series FROM point") == [(1,)]
    assert values(in_memory_store) == [1.0, 7.0, 8.0]


def test_the_senders_of_a_series_are_limited(in_memory_store: InMemoryStore) -> None:
    """A sender that changes its start with each point does not use up the series of the others."""
    for number in range(MAX_SENDERS + 10):
        start = START + number
        point = number_point(number, at=NOW + number, start=start)
        assert send(in_memory_store, metric_request(counter("sold", point))) == ""
    assert in_memory_store.rows("SELECT count(*) FROM series") == [(MAX_SENDERS,)]
    assert len(values(in_memory_store)) == MAX_SENDERS + 10
    assert MAX_SENDERS <= 16 < MAX_SERIES


def test_a_different_point_of_the_same_time_is_rejected(in_memory_store: InMemoryStore) -> None:
    """A point is stored once, and another value for its series and time is refused by name."""
    for number, expected in ((1, ""), (1, ""), (2, ANOTHER)):
        point = number_point(number, at=NOW, start=START)
        other = gauge("other", number_point(1))  # it makes each request different
        assert send(in_memory_store, metric_request(counter("sold", point), other)) == expected
    assert in_memory_store.rows("SELECT value FROM points WHERE name = 'sold_total'") == [(1.0,)]


def test_exemplars_of_the_same_time_are_all_kept(in_memory_store: InMemoryStore) -> None:
    """Exemplars that differ only in their trace are all kept."""
    exemplars = [exemplar(bytes([number]) * 16, 0.05, at=NOW) for number in (1, 2, 3)]
    point = histogram_point([1, 0, 0], at=NOW, exemplars=exemplars)
    assert send(in_memory_store, metric_request(histogram("took", point))) == ""
    assert in_memory_store.rows("SELECT count(*) FROM exemplar") == [(3,)]


def test_equal_span_ids_in_different_traces_are_different_spans(
    in_memory_store: InMemoryStore,
) -> None:
    """Spans with the same span id are kept, and each trace has only its own."""
    spans = [span(f"span {n}", trace_id=bytes([n]) * 16, span_id=b"same-id!") for n in (1, 2)]
    in_memory_store.send("traces", trace_request(*spans))
    rows = in_memory_store.rows("SELECT trace_id, name FROM spans ORDER BY name")
    assert rows == [("01" * 16, "span 1"), ("02" * 16, "span 2")]
