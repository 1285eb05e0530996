"""Tests that the store never takes two different items for one, and names what it cannot keep."""

import time

import pytest
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
from three_pillar_demo.local_store import series_table
from three_pillar_demo.local_store.series_table import MAX_SENDERS, MAX_SERIES

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


def test_equal_log_records_of_a_clock_in_milliseconds_are_all_kept(
    in_memory_store: InMemoryStore,
) -> None:
    """Equal requests are different events if all times are whole milliseconds, else retries."""
    whole = NOW // 10**6 * 10**6
    without_time = log_record("observed", observed_time_unix_nano=whole)
    without_time.time_unix_nano = 0
    exact = log_record("exact", at=whole + 1000)
    exactly_observed = log_record("observed", at=whole, observed_time_unix_nano=whole + 1)
    cases = [
        ([log_record("tick", at=whole)], 3),
        ([log_record("tick", at=whole, observed_time_unix_nano=whole)], 3),
        ([without_time], 3),
        ([exact], 1),
        ([exactly_observed], 1),
        ([log_record("tick", at=whole), exact], 2),
    ]
    expected = 0
    for records, added in cases:
        for _ in range(3):
            assert in_memory_store.send("logs", log_request(*records)).status_code == 200
        expected += added
        assert in_memory_store.rows("SELECT count(*) FROM log") == [(expected,)]


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


def test_senders_that_look_alike_stay_apart_over_many_restarts(
    in_memory_store: InMemoryStore,
) -> None:
    """Two alike processes restarted together twenty times need two series, in which all is kept."""
    begin = NOW - 21 * 60 * NANO
    for restart in range(20):
        restarted = begin + restart * 60 * NANO
        for second in (10, 20):
            for process in (1, 2):
                start = restarted + process * NANO
                point = number_point(
                    10 * (process - 1) + second // 10, at=restarted + second * NANO, start=start
                )
                assert send(in_memory_store, metric_request(counter("sold", point))) == ""
        if restart % 7 == 3:  # what a restart of the store, or a rollback, does
            in_memory_store.store.points.series.reload()
    rows = in_memory_store.rows("SELECT value FROM point ORDER BY series, time")
    assert [value for (value,) in rows] == [1.0, 2.0] * 20 + [11.0, 12.0] * 20


def test_a_late_point_goes_to_the_series_of_its_run(in_memory_store: InMemoryStore) -> None:
    """A late point of an earlier run is stored beside the other points of that run."""
    runs = [(1, 0, 20), (2, 1, 20), (3, 40, 60), (4, 41, 60)]
    for value, start, end in runs:
        for second in (start + 5, end):
            point = number_point(value, at=START + second * NANO, start=START + start * NANO)
            assert send(in_memory_store, metric_request(counter("sold", point))) == ""
    for value, start, end in reversed(runs):
        late = number_point(value, at=START + (end - 1) * NANO, start=START + start * NANO)
        assert send(in_memory_store, metric_request(counter("sold", late))) == ""
    rows = in_memory_store.rows("SELECT value FROM point ORDER BY series, time")
    assert [value for (value,) in rows] == [1.0] * 3 + [3.0] * 3 + [2.0] * 3 + [4.0] * 3


def test_the_senders_of_a_series_are_limited(in_memory_store: InMemoryStore) -> None:
    """A sender over the limit is rejected by name, and the points of the others stay theirs."""
    results = []
    for number in range(MAX_SENDERS + 10):
        point = number_point(number, at=NOW + number, start=START + number)
        results.append(send(in_memory_store, metric_request(counter("sold", point))))
    over = f"rejected: 1 x data point: over {MAX_SENDERS} senders of one series"
    assert results == [""] * MAX_SENDERS + [over] * 10
    rows = in_memory_store.rows("SELECT value FROM point ORDER BY series, time")
    assert rows == [(float(number),) for number in range(MAX_SENDERS)]
    ended = number_point(99, at=NOW + 2 * NANO, start=NOW + NANO)
    assert send(in_memory_store, metric_request(counter("sold", ended))) == ""
    assert MAX_SENDERS <= 16 < MAX_SERIES


def test_a_second_sender_beyond_the_series_is_rejected(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is no room for the series of a second sender, the first one's series stays its."""
    monkeypatch.setattr(series_table, "MAX_SERIES", 1)
    results = [
        send(
            in_memory_store,
            metric_request(counter("sold", number_point(number, at=NOW, start=START + number))),
        )
        for number in range(2)
    ]
    assert results == ["", "rejected: 1 x data point of a new series: over 1 series"]
    assert values(in_memory_store) == [0.0]


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
