"""Answers the queries of ``query.interface`` by reading the local store's SQLite file."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import httpx2

from three_pillar_demo.query import (
    exponential,
    local_arrivals,
    local_instruments,
    local_logs,
    local_peers,
    local_requests,
    local_service_red,
    local_services,
    promql_math,
    sqlite_rows,
)
from three_pillar_demo.query.arrivals import nanoseconds
from three_pillar_demo.query.instruments import Instrument, InstrumentQuery, InstrumentSeries
from three_pillar_demo.query.interface import (
    DURATION,
    LOOKBACK_S,
    NANO,
    Arrivals,
    BackendError,
    Exemplar,
    FoundRequest,
    LogRecord,
    RedSample,
    RequestFilter,
    Selection,
    ServiceCall,
    Span,
)
from three_pillar_demo.query.local_service_map import LocalServiceMaps
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.peers import Facts, PeerQuery
from three_pillar_demo.query.service_figures import Figures, ServiceRed
from three_pillar_demo.query.service_map import ServiceMap
from three_pillar_demo.query.severity import LEVEL_NUMBERS, sql_condition
from three_pillar_demo.query.sqlite_reader import SqliteReader
from three_pillar_demo.stack import ports
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES

HEALTH_TIMEOUT_S = 2.0
MAX_HEALTH_TEXT = 200
HOUR_S = 3600.0
SCAN_ROWS = 200_000
"""The maximum number of rows, the newest ones, that a search without an index examines."""
PILLARS = ("traces", "logs", "metrics")
IS_SERVER_SPAN = "kind = 2"
"""The SQL condition for a SERVER span.

The number 2 is written out, because with a parameter SQLite would not use the partial index
``span_server``.
"""
CANONICAL_ATTRIBUTE = '"http.response.status_code":'
"""Text in the JSON attributes of every canonical log line, and of no other log record."""


class LocalBackends:
    """Implements ``query.interface.Backends`` with the local store's file at ``path``."""

    log_search_limit = local_logs.SEARCH_LIMIT
    request_search_limit = ""

    def __init__(self, path: Path, url: str = "") -> None:
        """Prepare to read the file at ``path``.

        ``url`` is the store's address for ``health``, by default that of the running stack.
        """
        self.path = path
        self.url = url or ports.STORE.url
        self.reader = SqliteReader(path)
        self.service_maps = LocalServiceMaps(self.reader)
        self.names: Mapping[str, str] = dict.fromkeys(PILLARS, "the local store")
        self.components: Mapping[str, str] = dict.fromkeys(PILLARS, "store")

    async def __aenter__(self) -> Self:
        """Return this object.

        The first query opens the file, so the file need not exist yet.
        """
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file."""
        self.reader.close()

    @cached_property
    def _http(self) -> httpx2.AsyncClient:
        """The client for ``health``; it keeps no connection open, so that it need not be closed."""
        limits = httpx2.Limits(max_keepalive_connections=0)
        return httpx2.AsyncClient(
            timeout=HEALTH_TIMEOUT_S, trust_env=False, verify=NO_CERTIFICATES, limits=limits
        )

    async def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of a trace, ordered by start; none if the trace is not stored."""
        rows = await self.reader.fetch(sqlite_rows.SELECT_TRACE, (sqlite_rows.id_bytes(trace_id),))
        return [sqlite_rows.to_span(row) for row in rows]

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
        if order_id:
            return await self._traces_of_order(service, start, end, order_id, limit)
        conditions = [IS_SERVER_SPAN, "start BETWEEN :start AND :end", local_logs.OF_SERVICE]
        if failed:
            conditions.append(f"status = {sqlite_rows.STATUS_ERROR}")
        if slower_than > 0:
            conditions.append("duration > :duration")
        statement = (
            f"SELECT trace_id FROM span WHERE {' AND '.join(conditions)} "  # noqa: S608  (of constants)
            "ORDER BY start DESC LIMIT :limit"
        )
        parameters = {
            "service": service,
            "start": int(start * NANO),
            "end": int(end * NANO),
            "duration": int(slower_than * NANO),
            "limit": limit,
        }
        rows = await self.reader.fetch(statement, parameters)
        return [trace_id.hex() for (trace_id,) in rows]

    async def _traces_of_order(
        self, service: str, start: float, end: float, order_id: str, limit: int
    ) -> list[str]:
        """Return the ids of the newest ``limit`` traces of an order, newest first.

        Each of the traces has a span of ``service`` whose attribute ``order.id`` is ``order_id``.
        Only the newest ``SCAN_ROWS`` spans are searched.
        """
        # The text search, which is cheap, comes before the JSON is parsed.
        statement = f"""SELECT DISTINCT trace_id FROM span
            WHERE rowid > (SELECT max(rowid) - {SCAN_ROWS} FROM span)
            AND start BETWEEN :start AND :end AND {local_logs.OF_SERVICE}
            AND instr(attributes, :order_json)
            AND json_extract(attributes, '$."order.id"') = :order_id
            ORDER BY start DESC LIMIT :limit"""  # noqa: S608  (of constants)
        parameters = {
            "service": service,
            "start": int(start * NANO),
            "end": int(end * NANO),
            "order_json": json.dumps(order_id, ensure_ascii=False),
            "order_id": order_id,
            "limit": limit,
        }
        rows = await self.reader.fetch(statement, parameters)
        return [trace_id.hex() for (trace_id,) in rows]

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
        selection = Selection(service, failed)
        return await local_arrivals.request_spans(self.reader, start, end, selection, limit)

    async def search_requests(
        self, start: float, end: float, wanted: RequestFilter, limit: int = 50
    ) -> list[FoundRequest]:
        """Return the newest ``limit`` requests that ``wanted`` describes, newest first."""
        return await local_requests.search_requests(self.reader, start, end, wanted, limit)

    async def peer_facts(self, wanted: PeerQuery) -> list[Facts]:
        """Return what the spans of each peer of a request say."""
        return await local_peers.peer_facts(self.reader, wanted)

    def arrivals(self, selection: Selection) -> Arrivals:
        """Return the requests and log records of ``selection`` that arrive from now on."""
        return local_arrivals.LocalArrivals(self.reader, selection)

    async def trace_logs(self, trace_id: str, start: float, end: float) -> list[LogRecord]:
        """Return the log records of a trace from the time range, oldest first."""
        statement = (
            f"{sqlite_rows.SELECT_LOG_RECORDS} "
            "WHERE trace_id = ? AND time BETWEEN ? AND ? ORDER BY time, log.rowid"
        )
        parameters = (sqlite_rows.id_bytes(trace_id), int(start * NANO), int(end * NANO))
        rows = await self.reader.fetch(statement, parameters)
        return [sqlite_rows.to_log_record(row) for row in rows]

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
        conditions = ["time BETWEEN :start AND :end"]
        if service:
            conditions.append(local_logs.OF_SERVICE)
        if severity:
            is_level = severity in LEVEL_NUMBERS
            conditions.append(sql_condition(severity) if is_level else "severity_text = :severity")
        if text or canonical:
            # No index helps here, so the search ends at the SCAN_ROWS-th newest record.
            conditions.append(
                "time >= coalesce((SELECT time FROM log WHERE time <= :end "
                "ORDER BY time DESC LIMIT 1 OFFSET :scan_rows), 0)"
            )
        if text:
            conditions.append("instr(body, :text)")
        if canonical:
            conditions.append("instr(attributes, :canonical)")
        statement = (
            f"{sqlite_rows.SELECT_LOG_RECORDS} WHERE {' AND '.join(conditions)} "
            "ORDER BY time DESC, log.rowid DESC LIMIT :limit"
        )
        parameters = {
            "start": int(start * NANO),
            "end": int(end * NANO),
            "service": service,
            "severity": severity,
            "text": text,
            "canonical": CANONICAL_ATTRIBUTE,
            "scan_rows": SCAN_ROWS,
            "limit": limit,
        }
        rows = await self.reader.fetch(statement, parameters)
        return [sqlite_rows.to_log_record(row) for row in rows]

    async def search_logs(
        self, start: float, end: float, wanted: LogFilter, limit: int = 50
    ) -> list[LogRecord]:
        """Return the newest ``limit`` log records that ``wanted`` describes, newest first."""
        return await local_logs.search_logs(self.reader, start, end, wanted, limit)

    async def counters(
        self,
        name: str,
        by: Sequence[str],
        where: Mapping[str, str] | None = None,
        *,
        within: float = LOOKBACK_S,
    ) -> dict[tuple[str, ...], float]:
        """Return the current values of the metric ``name``, summed by the labels ``by``."""
        base_name = name.removesuffix("_count").removesuffix("_sum")
        parameters = (int((time.time() - within) * NANO), name, base_name)
        rows = await self.reader.fetch(sqlite_rows.SELECT_CURRENT_POINTS, parameters)
        sums: dict[tuple[str, ...], float] = defaultdict(float)
        for row in rows:
            for labels, value in sqlite_rows.current_values(row, name):
                is_selected = all(
                    labels.get(key, "") == expected for key, expected in (where or {}).items()
                )
                if is_selected:
                    sums[tuple(labels.get(key, "") for key in by)] += value
        return dict(sums)

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
        first_time = int((start - window) * NANO)
        parameters = (DURATION, service, route, first_time, int(end * NANO))
        rows = await self.reader.fetch(sqlite_rows.SELECT_HISTOGRAM_POINTS, parameters)
        steps = promql_math.Steps(start, end, step, window)
        return await asyncio.to_thread(_red_samples, rows, steps, quantiles)

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars of ``DURATION`` from the time range, oldest first."""
        parameters = (int(start * NANO), int(end * NANO), DURATION)
        rows = await self.reader.fetch(sqlite_rows.SELECT_EXEMPLARS, parameters)
        return [sqlite_rows.to_exemplar(row) for row in rows]

    async def instruments(self, start: float, end: float) -> list[Instrument]:
        """Return the instruments that services have sent in the time range, ordered by name."""
        return await local_instruments.instruments(self.reader, start, end)

    async def instrument_series(self, wanted: InstrumentQuery) -> InstrumentSeries:
        """Return the values of one instrument over time, in groups by the values of one label."""
        return await local_instruments.instrument_series(self.reader, wanted)

    async def instrument_exemplars(self, wanted: InstrumentQuery) -> list[Exemplar]:
        """Return the exemplars of one instrument from the time range, newest first."""
        return await local_instruments.instrument_exemplars(self.reader, wanted)

    async def service_graph(self, start: float, end: float) -> list[ServiceCall]:
        """Return the calls between services in the time range.

        A call is a CLIENT span of one service whose child is a SERVER span of another service.
        """
        parameters = (int(start * NANO), int(end * NANO))
        rows = await self.reader.fetch(sqlite_rows.SELECT_SERVICE_CALLS, parameters)
        return [ServiceCall(*row) for row in rows]

    async def services(self, start: float, end: float) -> list[Figures]:
        """Return the services that were seen in the time range with their figures."""
        return await local_services.services(self.reader, start, end)

    async def routes(self, service: str, start: float, end: float) -> list[Figures]:
        """Return the figures of each route of a service, those with the most requests first."""
        return await local_services.routes(self.reader, service, start, end)

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
        return await local_service_red.service_red(self.reader, service, steps, quantiles)

    async def service_map(self, start: float, end: float) -> ServiceMap:
        """Return all services and calls in the time range, also calls that reached no service."""
        return await self.service_maps.service_map(start, end)

    async def ingested(self) -> dict[str, int]:
        """Return the number of records stored since the file was created, by signal."""
        return dict(await self.reader.fetch("SELECT signal, rows FROM tally"))

    async def freshness(self) -> dict[str, float | None]:
        """Return the age in seconds of the newest span, log record and metric point, by pillar.

        The age is None if there is no record from the last hour.
        """
        ages: dict[str, float | None] = {}
        now = time.time()
        for pillar, statement in sqlite_rows.SELECT_NEWEST_TIME.items():
            [(newest,)] = await self.reader.fetch(statement, {"now": nanoseconds(now)})
            age = None if newest is None else max(0.0, now - newest / NANO)
            ages[pillar] = None if age is None or age > HOUR_S else age
        return ages

    async def size(self) -> int | None:
        """Return the size in bytes of the file and its write-ahead log; 0 if there is no file."""
        wal = self.path.with_name(f"{self.path.name}-wal")
        return sum(file.stat().st_size for file in (self.path, wal) if file.exists())

    async def health(self) -> dict[str, str]:
        """Return what is wrong with the local store, as a dict with the one key ``store``.

        The text is empty if the store's process reports no problem and its file can be read.
        """
        try:
            response = await self._http.get(f"{self.url}/healthz")
            if not response.is_success:
                status = response.json().get("status", response.status_code)
                return {"store": str(status)[:MAX_HEALTH_TEXT]}
            await self.ingested()
        except (httpx2.HTTPError, BackendError, ValueError, AttributeError) as error:
            return {"store": str(error) or type(error).__name__}
        return {"store": ""}


def _red_samples(
    rows: Sequence[Any], steps: promql_math.Steps, quantiles: Sequence[float]
) -> list[RedSample]:
    """Return the samples of a route from the points of its explicit and exponential histograms."""
    return promql_math.red_samples(exponential.explicit_rows(rows), steps, quantiles)
