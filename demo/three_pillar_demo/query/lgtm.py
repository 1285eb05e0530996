"""Answers every question by asking Tempo, Loki and Prometheus."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence

from three_pillar_demo.query.http_clients import HttpClients
from three_pillar_demo.query.interface import (
    DURATION,
    LOOKBACK,
    NANO,
    Exemplar,
    LogRecord,
    RedSample,
    ServiceCall,
)

HOUR = 3600.0
NEWEST = " with (most_recent=true)"
"""Without it Tempo stops at any traces that match, and the newest may not be among them."""
ANY = '{service_name=~".+"}'
TOLD = 'max(timestamp(target_info{job!~"otelcol.*"}))'
"""The newest point of all metrics of whoever is not the Collector: Prometheus dates each sender's ``target_info`` by it."""


class LgtmBackends(HttpClients):
    """Loki, Grafana, Tempo, Metrics: ``backends.questions.Backends`` in TraceQL, LogQL and PromQL."""

    names: Mapping[str, str] = {"traces": "Tempo", "logs": "Loki", "metrics": "Prometheus"}
    components: Mapping[str, str] = {"traces": "tempo", "logs": "loki", "metrics": "prometheus"}

    async def requests(  # noqa: PLR0913  (each narrows the search)
        self,
        service: str,
        start: float,
        end: float,
        *,
        failed: bool = False,
        slower: float = 0.0,
        order_id: str = "",
        limit: int = 20,
    ) -> list[str]:
        """Trace ids of the requests that ``service`` answered, newest first."""
        wanted = [f"resource.service.name={quoted(service)}"]
        wanted += [f"span.order.id={quoted(order_id)}"] if order_id else ["kind=server"]
        wanted += ["status=error"] * failed
        wanted += [f"duration>{slower * 1e6:.0f}us"] * (slower > 0)
        return list(await self.traceql(f"{{ {' && '.join(wanted)} }}{NEWEST}", start, end, limit))

    async def trace_logs(self, trace_id: str, start: float, end: float) -> list[LogRecord]:
        """The log lines of a trace, oldest first."""
        return await self.logql(f"{ANY} | trace_id={quoted(trace_id)}", start, end)

    async def logs(  # noqa: PLR0913  (as above)
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
        """The newest log lines, newest first."""
        query = f"{{service_name={quoted(service)}}}" if service else ANY
        query += f" |= {quoted(text)}" if text else ""
        query += f" | severity_text={quoted(severity)}" if severity else ""
        query += ' | http_response_status_code!=""' if canonical else ""
        return await self.logql(query, start, end, limit, newest=True)

    async def counters(
        self,
        name: str,
        by: Sequence[str],
        where: Mapping[str, str] | None = None,
        *,
        within: float = LOOKBACK,
    ) -> dict[tuple[str, ...], float]:
        """The newest value of each series of ``name`` with the labels ``where``, summed by the labels ``by``."""
        newest = f"last_over_time({series(name, where)}[{within * 1000:.0f}ms])"
        found = await self.promql(f"sum by ({', '.join(by)}) ({newest})")
        return {tuple(labels.get(label, "") for label in by): value for labels, value in found}

    async def red(  # noqa: PLR0913  (a range and what to read in it)
        self,
        service: str,
        route: str,
        start: float,
        end: float,
        *,
        step: float = 5.0,
        window: float = 60.0,
        shares: Sequence[float] = (0.5, 0.95, 0.99),
    ) -> list[RedSample]:
        """Rate, error ratio and quantiles of ``route``, every ``step`` seconds from ``start`` to ``end``."""
        where, over = {"service_name": service, "http_route": route}, f"[{window * 1000:.0f}ms]"
        # In whole milliseconds, as Prometheus counts: its answers are found again by their time.
        times = [
            at / 1000
            for at in range(round(start * 1000), round(end * 1000) + 1, round(step * 1000))
        ]
        requests = series(f"{DURATION}_count", where)
        faults = f'{requests.removesuffix("}")}, http_response_status_code=~"5.."}}'
        buckets = f"sum by (le) (rate({series(f'{DURATION}_bucket', where)}{over}))"
        queries = [f"sum(rate({each}{over}))" for each in (requests, faults)]
        queries += [f"histogram_quantile({share}, {buckets})" for share in shares]
        rates, failed, *quantiles = await asyncio.gather(
            *(self.promql_range(query, times) for query in queries)
        )
        return [
            RedSample(
                at,
                rates.get(at),
                failed.get(at, 0.0) / rates[at] if rates.get(at) else None,
                tuple(each.get(at) for each in quantiles),
            )
            for at in times
        ]

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """The exemplars of the duration histogram's buckets between two times."""
        return await self.promql_exemplars(f"{DURATION}_bucket", start, end)

    async def service_graph(self, start: float, end: float) -> list[ServiceCall]:
        """Who called whom, by the counters that Tempo makes; "user" is its word for whoever sends no spans, and left out."""
        over = f"[{max(1.0, end - start) * 1000:.0f}ms]"

        async def rise(name: str) -> dict[tuple[str, str], float]:
            counter = f'traces_service_graph_{name}_total{{client!="user", server!="user"}}'
            found = await self.promql(f"sum by (client, server) (increase({counter}{over}))", end)
            return {(labels["client"], labels["server"]): value for labels, value in found}

        calls, failed = await asyncio.gather(rise("request"), rise("request_failed"))
        return [
            ServiceCall(*pair, count, failed.get(pair, 0.0))
            for pair, count in sorted(calls.items())
            if count
        ]

    async def ingested(self) -> dict[str, int]:
        """How many spans, lines and points were taken in since the start of Tempo, Loki and Prometheus, by their own count."""
        spans, lines, points = await asyncio.gather(
            self.figure("tempo", "tempo_distributor_spans_received_total"),
            self.figure("loki", "loki_distributor_lines_received_total"),
            self.figure("prometheus", "prometheus_tsdb_head_samples_appended_total"),
        )
        return {"spans": spans, "lines": lines, "points": points}

    async def freshness(self) -> dict[str, float | None]:
        """How many seconds old the newest trace, log line and metric is; None when there is none this hour."""
        now = time.time()
        traces, lines, points = await asyncio.gather(
            self.traceql(f"{{}}{NEWEST}", now - HOUR, now),
            self.logql(ANY, now - HOUR, now, 1, newest=True),
            self.promql(
                f"{TOLD} or max_over_time({TOLD}[1h:30s])", now
            ),  # by itself it looks five minutes back
        )
        points = points or await self.promql(
            f"max(timestamp({DURATION}_count))", now
        )  # target_info is not always there
        newest = {
            "traces": max(traces.values(), default=None),
            "logs": lines[0].time / NANO if lines else None,
            "metrics": points[0][1] if points else None,
        }
        return {pillar: None if at is None else max(0.0, now - at) for pillar, at in newest.items()}

    async def series(
        self, names: str, start: float, end: float
    ) -> list[tuple[dict[str, str], list[float | None]]]:
        """Every series whose name matches ``names``, with its value in each second between two times; None where it has none.

        No question of the list: the judge of the alerts wants the figures themselves.
        """
        params = {"query": f"{{__name__=~{quoted(names)}}}", "start": start, "end": end, "step": 1}
        found = await self._json("prometheus", "/api/v1/query_range", **params)
        count = int(end - start) + 1
        told = []
        for each in found["data"]["result"]:
            values: list[float | None] = [None] * count
            for at, value in each["values"]:
                values[min(count - 1, round(at - start))] = float(value)
            told.append((each["metric"], values))
        return told

    async def size(self) -> int | None:
        """Nobody tells."""
        return None


def quoted(text: str) -> str:
    """``text`` as a string of TraceQL, LogQL and PromQL: nothing in it ends the string."""
    return json.dumps(text, ensure_ascii=False)


def series(name: str, where: Mapping[str, str] | None) -> str:
    """The selector of the series of ``name`` with the labels ``where``."""
    return (
        "{"
        + ", ".join(
            f"{label}={quoted(value)}"
            for label, value in {"__name__": name, **(where or {})}.items()
        )
        + "}"
    )
