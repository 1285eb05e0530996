"""Tests which series of Prometheus and which spans of Tempo count for a service."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from three_pillar_demo.query import lgtm_service_red, lgtm_services
from three_pillar_demo.query.interface import NANO, Exemplar
from three_pillar_demo.query.lgtm_red_series import SERIES, found_series, presence_query
from three_pillar_demo.query.promql_math import Steps
from three_pillar_demo.query.red_sources import ROOT_SPANS, SPANS
from three_pillar_demo.query.service_figures import Figures

HTTP = "http_server_request_duration_seconds"
OLD_HTTP = "http_server_duration_milliseconds"
SPAN_COUNT = "traces_spanmetrics_latency_count"
START = 1_000_000.0
END = START + 240


class FakeClients:
    """Prometheus, Tempo and Loki with a few answers, and the queries that they have got.

    ``vectors`` has the result of each PromQL query that contains a text, by this text.
    """

    def __init__(self, traced: set[str], traces: Sequence[dict[str, Any]] = ()) -> None:
        """Hold ``traces`` of the services ``traced``, and no metrics."""
        self.traced = traced
        self.traces = list(traces)
        self.vectors: dict[str, list[tuple[dict[str, str], float]]] = {}
        self.queries: list[str] = []

    async def promql(
        self, query: str, at: float | None = None
    ) -> list[tuple[dict[str, str], float]]:
        """Return the first of ``vectors`` whose text is in the query."""
        assert at == END
        self.queries.append(query)
        return next((vector for text, vector in self.vectors.items() if text in query), [])

    async def promql_matrix(
        self, query: str, times: Sequence[float]
    ) -> list[tuple[dict[str, str], dict[float, float]]]:
        """Return nothing."""
        self.queries.append(query)
        assert times[-1] == END
        return []

    async def promql_range(self, query: str, times: Sequence[float]) -> dict[float, float]:
        """Return the value 1 for each time."""
        self.queries.append(query)
        return dict.fromkeys(times, 1.0)

    async def promql_exemplars(self, query: str, *_: float) -> list[Exemplar]:
        """Return one exemplar."""
        self.queries.append(query)
        return [Exemplar("a" * 32, 250.0, END, {})]

    async def search(self, query: str, *_: float) -> list[dict[str, Any]]:
        """Return the traces."""
        self.queries.append(query)
        return self.traces

    async def service_names(self, *_: float) -> tuple[set[str], set[str]]:
        """Return the traced services, and one that has log records only."""
        return self.traced, {"only logs"}


def trace(number: int, service: str, kind: str = "internal") -> dict[str, Any]:
    """Return a trace of one span, as Tempo's search does."""
    texts = {"service.name": service, "kind": kind, "status": "error"}
    return {
        "traceID": f"{number}",
        "spanSets": [
            {
                "spans": [
                    {
                        "spanID": f"{number}",
                        "name": "nightly",
                        "startTimeUnixNano": f"{int(START + number) * NANO}",
                        "durationNanos": f"{2 * NANO}",
                        "attributes": [
                            {"key": key, "value": {"stringValue": value}}
                            for key, value in texts.items()
                        ],
                    }
                ]
            }
        ],
    }


def services(clients: FakeClients) -> dict[str, Figures]:
    """Return the figures of all services, by name."""
    found = asyncio.run(lgtm_services.services(clients, START, END))
    return {figures.name: figures for figures in found}


def test_the_first_histogram_of_a_service_counts() -> None:
    """New HTTP metrics come before old ones, classic before native, and spans are last."""
    names = [series.counted_name for series in SERIES]
    assert names[:3] == [f"{HTTP}_count", HTTP, f"{OLD_HTTP}_count"]
    assert names[-1] == SPAN_COUNT
    chosen = found_series(
        [
            ({"__name__": SPAN_COUNT, "service": "web"}, 1.0),
            ({"__name__": HTTP, "service_name": "web"}, 1.0),
            ({"__name__": SPAN_COUNT, "service": "plain"}, 1.0),
        ]
    )
    assert (chosen["web"].metric, chosen["web"].is_native) == (HTTP, True)
    assert chosen["plain"].source == SPANS


@pytest.mark.parametrize("name", ['a "b" \\', "x{y}", "ä\U0001f600"])
def test_a_hostile_name_is_quoted(name: str) -> None:
    """The name of a service is a string literal of PromQL, whatever it has in it."""
    query = presence_query(60, name)
    literal = name.replace("\\", "\\\\").replace('"', '\\"')
    assert query.count(f'="{literal}"') == 2


def test_failures_of_all_conventions_count_once() -> None:
    """The failed requests are those of five exclusive conditions, of native histograms as well."""
    classic = SERIES[0].failed("rate", 60, 'service_name="web"')
    assert classic.count(" or ") == 4
    assert f'{HTTP}_count{{job!~"otelcol.*", http_response_status_code=~"5..", ' in classic
    native = SERIES[1].failed("rate", 60)
    assert native.startswith(f"histogram_count(sum(rate({HTTP}{{")


def test_statuses_say_which_requests_failed() -> None:
    """Requests, failures and mean come from one histogram, which is in milliseconds."""
    clients = FakeClients(set())
    web = {"service_name": "web"}
    clients.vectors = {
        "count by (__name__": [
            ({"__name__": f"{OLD_HTTP}_count", **web}, 1.0),
            ({"__name__": SPAN_COUNT, "service": "web"}, 1.0),
            ({"__name__": SPAN_COUNT, "service": "plain"}, 1.0),
        ],
        f"increase({SPAN_COUNT}": [({"service": name}, 7.0) for name in ("web", "plain")],
        f"(increase({OLD_HTTP}_count": [
            ({**web, "http_status_code": "404"}, 6.0),
            ({**web, "http_status_code": "503"}, 2.0),
        ],
        f"(increase({OLD_HTTP}_sum": [(web, 1000.0)],
        "histogram_quantile(0.5,": [(web, 250.0)],
        "histogram_quantile(0.95,": [(web, float("nan"))],
    }
    found = services(clients)
    assert (found["plain"].source, found["plain"].requests) == (SPANS, 7.0)
    figures = found["web"]
    assert (figures.source, figures.requests, figures.failed) == ("http.server.duration", 8.0, 2.0)
    assert figures.mean == pytest.approx(0.125)
    assert figures.quantiles == (0.25, None, None)
    red = asyncio.run(
        lgtm_service_red.service_red(clients, "web", Steps(START, END, 60, 60), (0.5,))
    )
    assert red.samples[-1].quantiles == (0.001,)
    assert red.exemplars[0].value == pytest.approx(0.25)


def test_a_rare_export_widens_the_window() -> None:
    """Five points in the last five minutes mean an export each minute, and a window of 150 s."""
    clients = FakeClients(set())
    web = {"service_name": "web"}
    clients.vectors = {
        "count by (__name__": [({"__name__": f"{HTTP}_count", **web}, 1.0)],
        "count_over_time": [({}, 5.0)],
    }
    red = asyncio.run(
        lgtm_service_red.service_red(clients, "web", Steps(START, END, 60, 60), (0.5,))
    )
    assert red.window == pytest.approx(150)
    assert any("[150000ms]" in query for query in clients.queries)


def test_jobs_are_counted_by_their_spans() -> None:
    """A service without metrics has the figures of its newest spans; logs alone give none."""
    clients = FakeClients({"job", "web"}, [trace(1, "job"), trace(2, "web", "server")])
    found = services(clients)
    assert {name: figures.source for name, figures in found.items()} == {
        "job": ROOT_SPANS,
        "web": SPANS,
        "only logs": "",
    }
    assert (found["job"].requests, found["job"].failed, found["job"].mean) == (1, 1, 2.0)
    assert 'resource.service.name=~"job|web"' in clients.queries[-1]
    red = asyncio.run(
        lgtm_service_red.service_red(clients, "job", Steps(START + 60, END, 60, 60), (0.5,))
    )
    assert (red.source, red.exemplars[0].trace_id) == (ROOT_SPANS, "1".zfill(32))
    assert red.samples[0].rate == pytest.approx(1 / 59), "it began 59 s before"


def test_rates_are_divided_by_the_time_since_the_first_point() -> None:
    """While a histogram begins, rates are those of the time since then; later they are as asked."""
    clients = FakeClients(set())
    web = {"service_name": "web"}
    clients.vectors = {"count by (__name__": [({"__name__": f"{HTTP}_count", **web}, 1.0)]}
    for first, expected in ((END - 20, [6, 4, 3]), (START, [1, 1, 1]), (END - 1, [6, 6, 6])):
        clients.vectors["min(min_over_time(timestamp("] = [({}, first)]
        red = asyncio.run(
            lgtm_service_red.service_red(clients, "web", Steps(END - 10, END, 5, 60), (0.5,))
        )
        assert [sample.rate for sample in red.samples] == pytest.approx(expected)
    [query] = {query for query in clients.queries if query.startswith("min(")}
    assert query == (
        f'min(min_over_time(timestamp({HTTP}_count{{job!~"otelcol.*", service_name="web"}})'
        "[70000ms:5000ms]))"
    )


def test_a_full_search_covers_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """When Tempo has more traces than are read, the figures begin at the oldest one."""
    monkeypatch.setattr(lgtm_services, "MAX_TRACES", 2)
    clients = FakeClients({"job"}, [trace(200, "job"), trace(210, "job")])
    figures = services(clients)["job"]
    assert figures.start == START + 202
    [route] = asyncio.run(lgtm_services.routes(clients, "job", START, END))
    assert (route.name, route.requests) == ("nightly", 2)
