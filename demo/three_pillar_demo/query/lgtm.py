"""Answers the queries of ``query.interface`` from Tempo, Loki and Prometheus."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from three_pillar_demo.query import (
    lgtm_arrivals,
    lgtm_instruments,
    lgtm_logs,
    lgtm_peers,
    lgtm_requests,
    lgtm_service_map,
    lgtm_service_red,
    lgtm_services,
    promql_math,
)
from three_pillar_demo.query.http_clients import HttpClients
from three_pillar_demo.query.instruments import Instrument, InstrumentQuery, InstrumentSeries
from three_pillar_demo.query.interface import (
    DURATION,
    LOOKBACK_S,
    NANO,
    Arrivals,
    Exemplar,
    FoundRequest,
    LogRecord,
    RedSample,
    RequestFilter,
    Selection,
    ServiceCall,
    Span,
)
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.peers import Facts, PeerQuery
from three_pillar_demo.query.service_addresses import ServiceAddresses
from three_pillar_demo.query.service_figures import Figures, ServiceRed
from three_pillar_demo.query.service_map import ServiceMap
from three_pillar_demo.query.severity import LEVEL_NUMBERS, logql_filter

HOUR_S = 3600.0
CLOCK_DIFFERENCE_S = 60.0
"""How far ahead of this machine's clock, in seconds, the clock of a sender may be."""
MOST_RECENT = " with (most_recent=true)"
"""A hint in TraceQL that makes Tempo return the newest matching traces.

Without the hint, Tempo returns the first matching traces that it finds, which may not be the
newest.
"""
ANY_SERVICE = '{service_name=~".+"}'
NEWEST_METRIC_TIME = 'max(timestamp(target_info{job!~"otelcol.*"}))'
"""PromQL for the time of the newest metric point, without the OpenTelemetry Collector's points.

Prometheus writes the metric ``target_info`` for each sender, with the time of the sender's newest
point. The Collector is left out, because it also sends metrics when no service does.
"""


class LgtmBackends(HttpClients):
    """Implements ``query.interface.Backends`` with Tempo, Loki and Prometheus.

    LGTM stands for Loki, Grafana, Tempo and metrics.
    """

    names: Mapping[str, str] = {"traces": "Tempo", "logs": "Loki", "metrics": "Prometheus"}
    components: Mapping[str, str] = {"traces": "tempo", "logs": "loki", "metrics": "prometheus"}
    log_search_limit = lgtm_logs.SEARCH_LIMIT
    request_search_limit = lgtm_requests.SEARCH_LIMIT

    async def requests(  # noqa: PLR0913  (as in the interface)
        self,
        service: str,
        start: float,
        end: float,
        *,
        failed: bool = False,
        slower_than: float = 0.0,
        order_id: str = "",
        limit: int = 20,
    ) -> list[str]:
        """Return the trace ids of the newest matching requests to ``service``, newest first."""
        conditions = [f"resource.service.name={quoted(service)}"]
        if order_id:
            conditions.append(f"span.order.id={quoted(order_id)}")
        else:
            conditions.append("kind=server")
        if failed:
            conditions.append("status=error")
        if slower_than > 0:
            conditions.append(f"duration>{slower_than * 1e6:.0f}us")
        query = f"{{ {' && '.join(conditions)} }}{MOST_RECENT}"
        return list(await self.traceql(query, start, end, limit))

    async def request_spans(
        self,
        start: float,
        end: float,
        *,
        service: str = "",
        failed: bool = False,
        limit: int = 20,
    ) -> list[Span]:
        """Return the spans of the newest ``limit`` requests in the time range, newest first."""
        wanted = RequestFilter(service, failed)
        found = await lgtm_requests.search_requests(self, start, end, wanted, limit)
        return [request.span for request in found]

    async def search_requests(
        self, start: float, end: float, wanted: RequestFilter, limit: int = 50
    ) -> list[FoundRequest]:
        """Return the newest ``limit`` requests that ``wanted`` describes, newest first."""
        return await lgtm_requests.search_requests(self, start, end, wanted, limit)

    async def peer_facts(self, wanted: PeerQuery) -> list[Facts]:
        """Return what the spans of each peer of a request say."""
        return await lgtm_peers.peer_facts(self, wanted)

    def arrivals(self, selection: Selection) -> Arrivals:
        """Return the requests and log records of ``selection`` that arrive from now on."""
        return lgtm_arrivals.LgtmArrivals(self, selection)

    async def search(
        self, query: str, start: float, end: float, limit: int, spans_per_trace: int
    ) -> list[dict[str, Any]]:
        """Return the traces in Tempo's response to a TraceQL query, each with its matching spans.

        This method is not part of the interface ``Backends``; ``lgtm_arrivals`` needs it.
        """
        response = await self._get_json(
            "tempo",
            "/api/search",
            q=query,
            start=int(start),
            end=int(end) + 1,
            limit=limit,
            spss=spans_per_trace,
        )
        traces: list[dict[str, Any]] = response.get("traces", [])
        return traces

    async def trace_logs(self, trace_id: str, start: float, end: float) -> list[LogRecord]:
        """Return the log records of a trace from the time range, oldest first."""
        return await self.logql(f"{ANY_SERVICE} | trace_id={quoted(trace_id)}", start, end)

    async def logs(  # noqa: PLR0913  (as in the interface)
        self,
        start: float,
        end: float,
        *,
        service: str = "",
        severity: str = "",
        text: str = "",
        canonical: bool = False,
        limit: int = 50,
    ) -> list[LogRecord]:
        """Return the newest ``limit`` matching log records, newest first."""
        query = f"{{service_name={quoted(service)}}}" if service else ANY_SERVICE
        if text:
            query += f" |= {quoted(text)}"
        if severity:
            is_level = severity in LEVEL_NUMBERS
            filter_ = logql_filter(severity) if is_level else f"severity_text={quoted(severity)}"
            query += f" | {filter_}"
        if canonical:
            query += ' | http_response_status_code!=""'
        return await self.logql(query, start, end, limit, newest=True)

    async def search_logs(
        self, start: float, end: float, wanted: LogFilter, limit: int = 50
    ) -> list[LogRecord]:
        """Return the newest ``limit`` log records that ``wanted`` describes, newest first."""
        return await lgtm_logs.search_logs(self, start, end, wanted, limit)

    async def counters(
        self,
        name: str,
        by: Sequence[str],
        where: Mapping[str, str] | None = None,
        *,
        within: float = LOOKBACK_S,
    ) -> dict[tuple[str, ...], float]:
        """Return the current values of the metric ``name``, summed by the labels ``by``."""
        newest = f"last_over_time({selector(name, where)}{range_selector(within)})"
        vector = await self.promql(f"sum by ({', '.join(by)}) ({newest})")
        return {tuple(labels.get(label, "") for label in by): value for labels, value in vector}

    async def red(  # noqa: PLR0913  (as in the interface)
        self,
        service: str,
        route: str,
        start: float,
        end: float,
        *,
        step: float = 5.0,
        window: float = 60.0,
        quantiles: Sequence[float] = (0.5, 0.95, 0.99),
    ) -> list[RedSample]:
        """Return rate, errors and duration of a route, one sample each ``step`` seconds."""
        # Prometheus computes in whole milliseconds, and its samples are looked up by their time.
        milliseconds = range(round(start * 1000), round(end * 1000) + 1, round(step * 1000))
        times = [millisecond / 1000 for millisecond in milliseconds]
        queries = _red_queries(service, route, window, quantiles)
        rates, error_rates, *durations = await asyncio.gather(
            *(self.promql_range(query, times) for query in queries)
        )
        samples = []
        for sample_time in times:
            rate = rates.get(sample_time)
            errors = error_rates.get(sample_time, 0.0) / rate if rate else None
            sample_durations = tuple(values.get(sample_time) for values in durations)
            samples.append(RedSample(sample_time, rate, errors, sample_durations))
        return samples

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars of all buckets of ``DURATION`` from the time range."""
        return await self.promql_exemplars(f"{DURATION}_bucket", start, end)

    async def instruments(self, start: float, end: float) -> list[Instrument]:
        """Return the instruments that services have sent in the time range, ordered by name."""
        return await lgtm_instruments.instruments(self, start, end)

    async def instrument_series(self, wanted: InstrumentQuery) -> InstrumentSeries:
        """Return the values of one instrument over time, in groups by the values of one label."""
        return await lgtm_instruments.instrument_series(self, wanted)

    async def instrument_exemplars(self, wanted: InstrumentQuery) -> list[Exemplar]:
        """Return the exemplars of one instrument from the time range, newest first."""
        return await lgtm_instruments.instrument_exemplars(self, wanted)

    async def service_graph(self, start: float, end: float) -> list[ServiceCall]:
        """Return the calls between services, from the metrics that Tempo generates from spans.

        Calls to or from what sends no spans are left out; Tempo counts them in the same metrics.
        """
        calls, failed_calls = await asyncio.gather(
            self._edge_increase("request", start, end),
            self._edge_increase("request_failed", start, end),
        )
        return [
            ServiceCall(*services, count, failed_calls.get(services, 0.0))
            for services, count in sorted(calls.items())
            if count
        ]

    async def _edge_increase(
        self, kind: str, start: float, end: float
    ) -> dict[tuple[str, str], float]:
        """Return the increase of a service graph counter of Tempo from ``start`` to ``end``.

        The keys of the result are pairs of client and server.

        ``kind`` is a part of the counter's name: "request" or "request_failed".
        """
        between_services = 'connection_type!~"database|virtual_node"'
        counter = f"traces_service_graph_{kind}_total{{{between_services}}}"
        over_range = f"{counter}{range_selector(max(1.0, end - start))}"
        vector = await self.promql(f"sum by (client, server) (increase({over_range}))", end)
        return {(labels["client"], labels["server"]): value for labels, value in vector}

    async def services(self, start: float, end: float) -> list[Figures]:
        """Return the services that were seen in the time range with their figures."""
        return await lgtm_services.services(self, start, end)

    async def routes(self, service: str, start: float, end: float) -> list[Figures]:
        """Return the figures of each route of a service, those with the most requests first."""
        return await lgtm_services.routes(self, service, start, end)

    async def service_red(  # noqa: PLR0913  (as in the interface)
        self,
        service: str,
        start: float,
        end: float,
        *,
        step: float = 5.0,
        window: float = 60.0,
        quantiles: Sequence[float] = (0.5, 0.95, 0.99),
    ) -> ServiceRed:
        """Return rate, errors and durations of all requests of a service over time."""
        steps = promql_math.Steps(start, end, step, window)
        return await lgtm_service_red.service_red(self, service, steps, quantiles)

    async def service_map(self, start: float, end: float) -> ServiceMap:
        """Return all services and calls in the time range, also calls that reached no service."""
        return await lgtm_service_map.service_map(self, self._service_addresses, start, end)

    @cached_property
    def _service_addresses(self) -> ServiceAddresses:
        """The services at called addresses, which are remembered for a while."""
        return ServiceAddresses(self)

    async def ingested(self) -> dict[str, int]:
        """Return the number of ``spans``, ``lines`` (log records) and ``points`` ingested so far.

        Each backend counts the records since its own start.
        """
        spans, lines, points = await asyncio.gather(
            self.own_counter("tempo", "tempo_distributor_spans_received_total"),
            self.own_counter("loki", "loki_distributor_lines_received_total"),
            self.own_counter("prometheus", "prometheus_tsdb_head_samples_appended_total"),
        )
        return {"spans": spans, "lines": lines, "points": points}

    async def freshness(self) -> dict[str, float | None]:
        """Return the age in seconds of the newest trace, log record and metric point, by pillar.

        The age is None if there is no record from the last hour.
        """
        now = time.time()
        # A query by itself looks back for five minutes, a subquery for the whole hour.
        query = f"{NEWEST_METRIC_TIME} or max_over_time({NEWEST_METRIC_TIME}[1h:30s])"
        traces, records, metric_times = await asyncio.gather(
            self.traceql(f"{{}}{MOST_RECENT}", now - HOUR_S, now),
            self.logql(ANY_SERVICE, now - HOUR_S, now, 1, newest=True),
            self.promql(query, now),
        )
        if not metric_times:  # target_info is not always there
            metric_times = await self.promql(f"max(timestamp({DURATION}_count))", now)
        # A span that a sender dates in the future would hide that no others arrive.
        past_ends = [end for end in traces.values() if end <= now + CLOCK_DIFFERENCE_S]
        newest = {
            "traces": max(past_ends, default=None),
            "logs": records[0].time / NANO if records else None,
            "metrics": metric_times[0][1] if metric_times else None,
        }
        return {
            pillar: None if newest_time is None else max(0.0, now - newest_time)
            for pillar, newest_time in newest.items()
        }

    async def values_by_second(
        self, name_pattern: str, start: float, end: float
    ) -> list[tuple[dict[str, str], list[float | None]]]:
        """Return the labels and values of every series whose name matches ``name_pattern``.

        The pattern is a regular expression. There is one value for each second from ``start`` to
        ``end``; it is None for a second at which the series has no value. This method is not part
        of the interface ``Backends``; the evaluation of alert rules needs it.
        """
        response = await self._get_json(
            "prometheus",
            "/api/v1/query_range",
            query=f"{{__name__=~{quoted(name_pattern)}}}",
            start=start,
            end=end,
            step=1,
        )
        seconds = range(int(end - start) + 1)
        result = []
        for series in response["data"]["result"]:
            values: list[float | None] = [None for _ in seconds]
            for sample_time, value in series["values"]:
                values[min(seconds[-1], round(sample_time - start))] = float(value)
            result.append((series["metric"], values))
        return result

    async def size(self) -> int | None:
        """Return None: none of the three backends reports its size."""
        return None


def _red_queries(service: str, route: str, window: float, quantiles: Sequence[float]) -> list[str]:
    """Return the PromQL queries of a route's rate, error rate and each duration quantile."""
    labels = {"service_name": service, "http_route": route}
    over_window = range_selector(window)
    requests = selector(f"{DURATION}_count", labels)
    server_errors = f'{requests.removesuffix("}")}, http_response_status_code=~"5.."}}'
    buckets = f"sum by (le) (rate({selector(f'{DURATION}_bucket', labels)}{over_window}))"
    return [
        f"sum(rate({requests}{over_window}))",
        f"sum(rate({server_errors}{over_window}))",
        *(f"histogram_quantile({quantile}, {buckets})" for quantile in quantiles),
    ]


def range_selector(seconds: float) -> str:
    """Return PromQL's range selector for a number of seconds, such as ``[5000ms]`` for 5.0."""
    return f"[{seconds * 1000:.0f}ms]"


def selector(name: str, labels: Mapping[str, str] | None) -> str:
    """Return PromQL's selector of the series of metric ``name`` that have all the ``labels``."""
    all_labels = {"__name__": name, **(labels or {})}
    matchers = ", ".join(f"{label}={quoted(value)}" for label, value in all_labels.items())
    return f"{{{matchers}}}"
