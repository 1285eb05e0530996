"""Tests that the local store's instruments are found, bounded, and charted in every odd case."""

import asyncio
import math
import time
from collections.abc import Sequence

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

from tests.demo.local_store.messages import (
    DELTA,
    NANO,
    attributes,
    counter,
    exemplar,
    gauge,
    histogram,
    histogram_point,
    metric_request,
    number_point,
)
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.query import local_instruments
from three_pillar_demo.query.instruments import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    MAX_GROUPS,
    Instrument,
    InstrumentQuery,
    InstrumentSeries,
)
from three_pillar_demo.query.local import LocalBackends

NOW_S = float(time.time_ns() // NANO)


@pytest.fixture(autouse=True)
def recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set ``NOW_S`` anew for each test, because the module may have been imported long before."""
    monkeypatch.setitem(globals(), "NOW_S", float(time.time_ns() // NANO))


def at(seconds_ago: float) -> int:
    """Return a time in nanoseconds since the epoch."""
    return int((NOW_S - seconds_ago) * NANO)


def send(store: InMemoryStore, *metrics: Metric, service: str = "shop") -> None:
    """Store ``metrics`` of one service."""
    assert store.send("metrics", metric_request(*metrics, service=service)).status_code == 200


def found(store: InMemoryStore) -> list[Instrument]:
    """Return the instruments of the last five minutes."""

    async def query() -> list[Instrument]:
        async with LocalBackends(store.path) as backends:
            return await backends.instruments(NOW_S - 300, NOW_S)

    return asyncio.run(query())


def series(
    store: InMemoryStore, name: str, kind: str, by: str = "", window: float = 60
) -> InstrumentSeries:
    """Return the values of an instrument over the last minute, one each ten seconds."""

    async def query() -> InstrumentSeries:
        wanted = InstrumentQuery(name, kind, NOW_S - 60, NOW_S, step=10, window=window, by=by)
        async with LocalBackends(store.path) as backends:
            return await backends.instrument_series(wanted)

    return asyncio.run(query())


def values(answer: InstrumentSeries) -> Sequence[float | None]:
    """Return the values of the only line."""
    [group] = answer.groups
    [line] = group.lines
    return line.values


def points(*pairs: tuple[float, float], start_ago: float = 3600) -> list[NumberDataPoint]:
    """Return points from pairs: how many seconds ago, and the value."""
    return [number_point(value, at=at(ago), start=at(start_ago)) for ago, value in pairs]


def test_services_share_an_instrument(in_memory_store: InMemoryStore) -> None:
    """Services that send the same name, kind and unit are listed with it, others apart."""
    for service in ("stock", "shop"):
        send(in_memory_store, gauge("size", *points((5, 1))), service=service)
    in_bytes = gauge("size", *points((5, 1)))
    in_bytes.unit = "By"
    send(in_memory_store, in_bytes, counter("sold", *points((5, 1))))
    assert [(one.name, one.kind, one.unit, one.services) for one in found(in_memory_store)] == [
        ("size", GAUGE, "", ("shop", "stock")),
        ("size", GAUGE, "By", ("shop",)),
        ("sold", COUNTER, "", ("shop",)),
    ]


def test_only_instruments_of_the_time_range_are_listed(in_memory_store: InMemoryStore) -> None:
    """An instrument without points in the time range is not listed, and has no values."""
    send(in_memory_store, gauge("old", *points((400, 1))), gauge("new", *points((10, 1))))
    assert [one.name for one in found(in_memory_store)] == ["new"]


def test_names_that_prometheus_would_make_equal_stay_apart(in_memory_store: InMemoryStore) -> None:
    """Two names in another alphabet are two instruments, each with its own values."""
    send(in_memory_store, gauge("温度", *points((5, 21))), gauge("湿度", *points((5, 60))))
    assert [one.name for one in found(in_memory_store)] == ["温度", "湿度"]
    assert values(series(in_memory_store, "温度", GAUGE))[-1] == 21
    assert values(series(in_memory_store, "湿度", GAUGE))[-1] == 60


def test_a_reset_is_no_negative_rate(in_memory_store: InMemoryStore) -> None:
    """After a restart the counter begins at zero, and the rate is that of the new counts."""
    before = points((40, 1000), (30, 1010))
    after = points((20, 5), (10, 15), (0, 25), start_ago=25)
    send(in_memory_store, counter("sold", *before, *after))
    rates = [rate for rate in values(series(in_memory_store, "sold", COUNTER)) if rate]
    assert rates
    assert all(0 < rate <= 1 for rate in rates)


def test_delta_and_cumulative_counters_have_the_same_rate(in_memory_store: InMemoryStore) -> None:
    """A counter that sends its increases has the rate of one that sends its totals."""
    ages = (50, 40, 30, 20, 10, 0)
    deltas = [number_point(20, at=at(ago), start=at(ago + 10)) for ago in ages]
    totals = points(*((ago, 20.0 * number) for number, ago in enumerate(ages, 1)), start_ago=60)
    for point in deltas:
        send(in_memory_store, counter("deltas", point, temporality=DELTA))
    send(in_memory_store, counter("totals", *totals))
    newest = [values(series(in_memory_store, name, COUNTER))[-1] for name in ("deltas", "totals")]
    assert newest == pytest.approx([2.0, 2.0], rel=0.1)


def test_a_rate_needs_two_points_but_a_value_one(in_memory_store: InMemoryStore) -> None:
    """With a single point a gauge has a value; a counter that began long ago has no rate."""
    send(in_memory_store, counter("sold", *points((5, 9))), gauge("size", *points((5, -3))))
    rate = series(in_memory_store, "sold", COUNTER)
    assert (set(values(rate)), rate.series_count) == ({None}, 1)
    assert values(series(in_memory_store, "size", GAUGE))[-1] == -3


def test_a_sender_with_few_points_has_a_longer_window(in_memory_store: InMemoryStore) -> None:
    """An SDK that sends once a minute, the default, has a rate at each time all the same."""
    send(in_memory_store, counter("sold", *points((180, 0), (120, 60), (60, 120), (0, 180))))
    answer = series(in_memory_store, "sold", COUNTER, window=30)
    assert answer.window == 150
    assert values(answer)[-1] == pytest.approx(1.0)


def test_a_value_ends_soon_after_its_last_point(in_memory_store: InMemoryStore) -> None:
    """A series that has ended has no value any more: it is not drawn on for ever."""
    send(in_memory_store, gauge("size", *points((60, 7), (50, 7), (40, 7))))
    assert values(series(in_memory_store, "size", GAUGE, window=20))[-3:] == (7, None, None)


def test_huge_values_do_not_break_the_answer(in_memory_store: InMemoryStore) -> None:
    """A value of 1e18 is kept; a sum beyond the range of numbers is no value."""
    many = [
        number_point(1.5e308, at=at(5), attributes=attributes(host=f"host-{number}"))
        for number in range(3)
    ]
    send(in_memory_store, gauge("large", *points((5, 1e18))), gauge("huge", *many))
    assert values(series(in_memory_store, "large", GAUGE))[-1] == 1e18
    assert values(series(in_memory_store, "huge", GAUGE))[-1] is None
    assert len(series(in_memory_store, "huge", GAUGE, by="host").groups) == 3


def test_only_the_largest_groups_are_returned(in_memory_store: InMemoryStore) -> None:
    """Of many values of a label, those with the largest newest values, and the number of all."""
    many = [
        number_point(number, at=at(5), attributes=attributes(route=f"/{number}", long="x" * 5000))
        for number in range(200)
    ]
    send(in_memory_store, gauge("open", *many))
    answer = series(in_memory_store, "open", GAUGE, by="route")
    assert [group.value for group in answer.groups] == [
        f"/{number}" for number in range(199, 199 - MAX_GROUPS, -1)
    ]
    assert (answer.group_count, answer.series_count) == (200, 200)
    counts = {label.name: label.count for label in answer.labels}
    assert (counts["route"], counts["long"]) == (200, 1)


def test_a_missing_label_is_a_group_of_its_own(in_memory_store: InMemoryStore) -> None:
    """Series without the chosen label share the group with the empty value."""
    with_label = number_point(1, at=at(5), attributes=attributes(room="attic"))
    send(in_memory_store, gauge("size", with_label, *points((5, 2))))
    answer = series(in_memory_store, "size", GAUGE, by="room")
    assert {group.value: group.lines[0].values[-1] for group in answer.groups} == {
        "attic": 1,
        "": 2,
    }
    assert {label.name: label.count for label in answer.labels}["room"] == 2


def test_the_points_that_are_read_are_bounded(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more series than the bound allows, fewer points of each are read, and rates stay."""
    monkeypatch.setattr(local_instruments, "MAX_CELLS", 20 * 10 * 8)
    many = [
        number_point(500 - ago, at=at(ago), start=at(3600), attributes=attributes(host=host))
        for ago in range(400, -1, -4)
        for host in range(20)
    ]
    send(in_memory_store, counter("sold", *many))
    answer = series(in_memory_store, "sold", COUNTER)
    assert len(answer.times) == 2
    assert values(answer)[-1] == pytest.approx(20.0, rel=0.05)
    monkeypatch.setattr(local_instruments, "MAX_SERIES", 15)
    answer = series(in_memory_store, "sold", COUNTER)
    assert values(answer)[-1] == pytest.approx(15.0, rel=0.05)
    assert (answer.series_count, answer.unread_count) == (20, 5)


def test_histograms_with_other_bounds_are_added_up(in_memory_store: InMemoryStore) -> None:
    """Two versions of a service with other buckets make one rate and sensible quantiles."""
    for bounds, counts in (((0.1, 1.0), (1, 1, 0)), ((0.5, 2.0), (2, 0, 0))):
        histograms = [
            histogram_point(
                [count * (number + 9) for count in counts],
                bounds,
                at=at(50 - 10 * number),
                start=at(3600),
                attributes=attributes(version=str(bounds)),
            )
            for number in range(6)
        ]
        send(in_memory_store, histogram("took", *histograms))
    [group] = series(in_memory_store, "took", HISTOGRAM).groups
    lines = {line.statistic: line.values[-1] for line in group.lines}
    assert lines["rate"] == pytest.approx(0.4)
    assert 0.1 < (lines["p50"] or 0) <= 1.0


def test_a_histogram_that_restarts_has_the_quantiles_of_its_new_counts(
    in_memory_store: InMemoryStore,
) -> None:
    """Buckets that begin at zero again are a restart: no quantile is computed from the decrease."""
    before = [histogram_point([9, 900, 0], at=at(ago), start=at(3600)) for ago in (50, 40)]
    counts = ((30, 2), (20, 4), (10, 6))
    after = [histogram_point([count, 0, 0], at=at(ago), start=at(35)) for ago, count in counts]
    send(in_memory_store, histogram("took", *before, *after))
    [group] = series(in_memory_store, "took", HISTOGRAM).groups
    lines = {line.statistic: line.values[-1] for line in group.lines}
    assert 0 < (lines["rate"] or 0) < 1
    assert lines["p99"] == pytest.approx(0.099)


def test_the_first_events_of_a_new_series_count(in_memory_store: InMemoryStore) -> None:
    """A series that begins in the window counts from zero: its first event is not lost."""
    trace = histogram_point([0, 6, 0], at=at(10), start=at(20))
    send(in_memory_store, histogram("took", trace), counter("new", *points((10, 6), start_ago=20)))
    assert (values(series(in_memory_store, "new", COUNTER))[-1] or 0) > 0
    [group] = series(in_memory_store, "took", HISTOGRAM).groups
    lines = {line.statistic: line.values[-1] for line in group.lines}
    assert (lines["rate"] or 0) > 0
    assert lines["p50"] == pytest.approx(0.55)


def test_steady_values_are_steady_from_their_beginning(in_memory_store: InMemoryStore) -> None:
    """Rates are divided by the time since the instrument's first data, in each of its groups."""
    began = 30
    for group, rate in (("a", 4.0), ("b", 2.0)):
        pairs = [(ago, rate * (began - ago)) for ago in range(began - 1, -1, -1)]
        numbers = points(*pairs, start_ago=began)
        for number in numbers:
            number.attributes.extend(attributes(group=group))
        send(in_memory_store, counter("sent", *numbers))
    late = number_point(6, at=at(1), start=at(3))
    late.attributes.extend(attributes(group="late"))
    send(in_memory_store, counter("sent", late))
    groups = {
        group.value: group.lines[0].values
        for group in series(in_memory_store, "sent", COUNTER, by="group").groups
    }
    assert groups["a"][-2:] == pytest.approx((4.0, 4.0))
    assert groups["b"][-2:] == pytest.approx((2.0, 2.0))
    assert groups["late"][-1] == pytest.approx(6 / began, rel=0.6), "not over two seconds"


def test_a_histogram_without_observations_has_no_quantile(in_memory_store: InMemoryStore) -> None:
    """A rate of zero is zero; a quantile of nothing is unknown, not zero and not NaN."""
    empty = [histogram_point([3, 0, 0], at=at(ago), start=at(3600)) for ago in (20, 10, 0)]
    send(in_memory_store, histogram("took", *empty))
    [group] = series(in_memory_store, "took", HISTOGRAM).groups
    assert [line.values[-1] for line in group.lines] == [0.0, None, None, None]


def test_exemplars_of_a_counter_are_found(in_memory_store: InMemoryStore) -> None:
    """Exemplars are not those of histograms alone, nor those of other instruments."""
    trace_id = b"a" * 16
    sold = points((5, 9))
    sold[0].exemplars.append(exemplar(trace_id, 1.0, at=at(6)))
    other = points((5, 9))
    other[0].exemplars.append(exemplar(b"b" * 16, 1.0, at=at(6)))
    send(in_memory_store, counter("sold", *sold), counter("other", *other))

    async def query() -> list[str]:
        wanted = InstrumentQuery("sold", COUNTER, NOW_S - 60, NOW_S)
        async with LocalBackends(in_memory_store.path) as backends:
            return [one.trace_id for one in await backends.instrument_exemplars(wanted)]

    assert asyncio.run(query()) == [trace_id.hex()]


def test_all_values_are_numbers(in_memory_store: InMemoryStore) -> None:
    """Whatever is stored, no value of an answer is NaN or infinite."""
    extremes = points((30, -1e308), (20, 1e308), (10, 5e-324), (0, 0))
    send(in_memory_store, gauge("odd", *extremes), counter("sold", *points((20, 1e308), (0, 1))))
    for name, kind in (("odd", GAUGE), ("sold", COUNTER)):
        known = [v for v in values(series(in_memory_store, name, kind)) if v is not None]
        assert known
        assert all(math.isfinite(value) for value in known)
