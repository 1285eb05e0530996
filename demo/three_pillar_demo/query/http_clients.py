"""Queries the HTTP APIs of Tempo, Loki and Prometheus, and converts the responses."""

import asyncio
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

import httpx2

from three_pillar_demo.query.interface import NANO, BackendError, Exemplar, LogRecord, Span
from three_pillar_demo.query.loki_records import log_record
from three_pillar_demo.query.otlp_json import spans_of
from three_pillar_demo.stack import ports
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES

TIMEOUT_S = 10.0
"""The time limit, in seconds, of one HTTP request to a backend."""
MAX_CONNECTIONS = 16
MAX_ERROR_TEXT = 300
"""The number of characters after which an error message cuts off a quoted response."""
TRACE_ID_DIGITS = 32
PORTS = {"tempo": ports.TEMPO, "loki": ports.LOKI, "prometheus": ports.PROMETHEUS}
MAX_LOG_RANGE_S = 30 * 24 * 3600.0
"""The longest time range, in seconds, that Loki accepts in a query, by default."""
AHEAD_S = 3600.0
"""How far ahead of this machine's clock, in seconds, log records are searched."""
READY_PATHS = {"tempo": "/ready", "loki": "/ready", "prometheus": "/-/ready"}


class HttpClients:
    """Queries of Tempo, Loki and Prometheus; an instance is an async context manager.

    Times in arguments are seconds since the epoch. Every method except ``health`` raises
    ``BackendError`` if a backend does not answer in time, or answers with an error.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """Read the hosts from ``TEMPO_HOST``, ``LOKI_HOST`` and ``PROMETHEUS_HOST``.

        The default host is 127.0.0.1. The ports are those of the running stack. Tests pass a
        ``transport`` that replaces the network.
        """
        self.transport = transport
        self.urls = {
            name: f"http://{os.environ.get(name.upper() + '_HOST') or ports.LOOPBACK}:{port.number}"
            for name, port in PORTS.items()
        }

    async def __aenter__(self) -> Self:
        """Open the HTTP client."""
        self.http = httpx2.AsyncClient(
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=NO_CERTIFICATES,
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS),
            transport=self.transport,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the HTTP client."""
        await self.http.aclose()

    async def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of a trace, ordered by start.

        The list is empty if Tempo has not stored the trace (yet).
        """
        response = await self._get_json(
            "tempo", f"/api/traces/{trace_id}", if_not_found={"batches": []}
        )
        spans = [span for batch in response["batches"] for span in spans_of(trace_id, batch)]
        return sorted(spans, key=lambda span: span.start)

    async def traceql(
        self, query: str, start: float, end: float, limit: int = 20
    ) -> dict[str, float]:
        """Return the traces that match a TraceQL query, as a dict from trace id to end time.

        The newest trace is first, and end times are seconds since the epoch. The result has
        ``limit`` traces at most. Tempo searches whole seconds, so the time range from ``start`` to
        ``end`` is widened to whole seconds.
        """
        response = await self._get_json(
            "tempo", "/api/search", q=query, start=int(start), end=int(end) + 1, limit=limit
        )
        traces = sorted(response.get("traces", []), key=_start, reverse=True)
        # Tempo omits leading zeros of an id, and durations under a millisecond.
        return {
            trace["traceID"].zfill(TRACE_ID_DIGITS): _start(trace) / NANO
            + trace.get("durationMs", 0) / 1000
            for trace in traces
        }

    async def traceql_counts(
        self, query: str, start: float, end: float
    ) -> list[tuple[dict[str, str], float]]:
        """Return the labels and value of each series of a metrics query in TraceQL.

        Labels have TraceQL's names, such as ``span.server.port``; one whose attribute the spans do
        not have is left out. Spans that started from ``start`` to ``end`` count, in whole seconds.
        """
        response = await self._get_json(
            "tempo", "/api/metrics/query", q=query, start=int(start), end=int(end)
        )
        return [
            (dict(_labels(series["labels"])), float(series.get("value", 0)))
            for series in response.get("series", [])
        ]

    async def logql(  # noqa: PLR0913  (a query, a time range, and which of the records)
        self,
        query: str,
        start: float,
        end: float,
        limit: int = 1000,
        *,
        newest: bool = False,
        until: int = 0,
    ) -> list[LogRecord]:
        """Return the oldest ``limit`` log records that match a LogQL query, oldest first.

        With ``newest``, return the newest ``limit`` records, newest first. If ``until`` is not 0,
        it is the time of the last record, in nanoseconds since the epoch, which no float expresses.

        The times of a span that a sender got wrong may be in the wrong order or centuries apart,
        which Loki refuses. They are exchanged, and the range is cut to what Loki accepts.
        """
        first, last = sorted((start, end))
        last = min(last, time.time() + AHEAD_S)
        first = max(first, last - MAX_LOG_RANGE_S)
        if first >= last:
            return []
        response = await self._get_json(
            "loki",
            "/loki/api/v1/query_range",
            query=query,
            direction="backward" if newest else "forward",
            start=int(first * NANO),
            # Loki excludes the end.
            end=min(int(last * NANO), until + 1) if until else int(last * NANO),
            limit=limit,
        )
        records = [
            log_record(int(timestamp), body, stream["stream"])
            for stream in response["data"]["result"]
            for timestamp, body in stream["values"]
        ]
        return sorted(records, key=lambda record: record.time, reverse=newest)

    async def promql(
        self, query: str, at: float | None = None
    ) -> list[tuple[dict[str, str], float]]:
        """Return the result of a PromQL query at one time: labels and value of each series.

        ``at`` is the time at which the query is evaluated, by default now.
        """
        response = await self._get_json(
            "prometheus", "/api/v1/query", query=query, time=at or time.time()
        )
        return [
            (sample["metric"], float(sample["value"][1])) for sample in response["data"]["result"]
        ]

    async def promql_range(self, query: str, times: Sequence[float]) -> dict[float, float]:
        """Return the values of a PromQL query as a dict from time to value, without NaN values.

        ``times`` must be evenly spaced; the times of the result are rounded to milliseconds. The
        query must result in one series at most.
        """
        step = times[1] - times[0] if len(times) > 1 else 1.0
        response = await self._get_json(
            "prometheus",
            "/api/v1/query_range",
            query=query,
            start=times[0],
            end=times[-1],
            step=round(step, 3),
        )
        return {
            round(sample_time, 3): float(value)
            for series in response["data"]["result"]
            for sample_time, value in series["values"]
            if value != "NaN"
        }

    async def promql_matrix(
        self, query: str, times: Sequence[float]
    ) -> list[tuple[dict[str, str], dict[float, float]]]:
        """Return the labels of each series of a PromQL query, and its finite values by time.

        ``times`` must be evenly spaced; the times of the result are rounded to milliseconds.
        """
        step = times[1] - times[0] if len(times) > 1 else 1.0
        response = await self._get_json(
            "prometheus",
            "/api/v1/query_range",
            query=query,
            start=times[0],
            end=times[-1],
            step=round(step, 3),
        )
        return [
            (
                series["metric"],
                {
                    round(sample_time, 3): float(value)
                    for sample_time, value in series.get("values", [])
                    if math.isfinite(float(value))
                },
            )
            for series in response["data"]["result"]
        ]

    async def prometheus_series(
        self, selector: str, start: float, end: float, limit: int
    ) -> list[dict[str, str]]:
        """Return the labels of at most ``limit`` series of Prometheus in a time range."""
        response = await self._get_json(
            "prometheus",
            "/api/v1/series",
            start=start,
            end=end,
            limit=limit,
            **{"match[]": selector},
        )
        series: list[dict[str, str]] = response["data"]
        return series

    async def service_names(self, start: float, end: float) -> tuple[set[str], set[str]]:
        """Return the names of the services with traces in Tempo, and with log records in Loki."""
        traced, logged = await asyncio.gather(
            self._get_json(
                "tempo",
                "/api/v2/search/tag/resource.service.name/values",
                start=int(start),
                end=int(end) + 1,
            ),
            self._get_json(
                "loki",
                "/loki/api/v1/label/service_name/values",
                start=int(start * NANO),
                end=int(end * NANO),
            ),
        )
        return {value["value"] for value in traced["tagValues"]}, set(logged.get("data", []))

    async def promql_exemplars(self, query: str, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars, from the time range, of the series that a PromQL query selects."""
        first, last = sorted((start, end))
        response = await self._get_json(
            "prometheus", "/api/v1/query_exemplars", query=query, start=first, end=last
        )
        return [
            Exemplar(
                trace_id=exemplar["labels"].get("trace_id", ""),
                value=float(exemplar["value"]),
                time=exemplar["timestamp"],
                labels=series["seriesLabels"],
            )
            for series in response["data"]
            for exemplar in series["exemplars"]
        ]

    async def own_counter(self, backend: str, name: str) -> int:
        """Return the value of a counter that a backend reports about itself, over all its labels.

        ``backend`` is ``tempo``, ``loki`` or ``prometheus``. ``name`` is the name of the counter.
        The value is 0 before the first event.
        """
        # Until the first event, the backend does not list the counter at all.
        response = await self._get(backend, "/metrics")
        values = re.findall(rf"^{name}(?:{{.*}})? (\S+)", response.text, re.MULTILINE)
        return round(sum(float(value) for value in values))

    async def health(self) -> dict[str, str]:
        """Return what is wrong with each backend, as a dict from backend name to text.

        The text is empty for a backend that is ready. The method never raises an exception.
        """
        problems = await asyncio.gather(*(self._problem(backend) for backend in PORTS))
        return dict(zip(PORTS, problems, strict=True))

    async def _problem(self, backend: str) -> str:
        try:
            await self._get(backend, READY_PATHS[backend])
        except BackendError as error:
            return str(error)
        return ""

    async def _get_json(
        self,
        backend: str,
        path: str,
        *,
        if_not_found: object = None,
        **params: str | float,
    ) -> Any:  # noqa: ANN401  (any JSON value)
        """Return the parsed JSON response to a GET request of ``path``.

        If the status is 404 and ``if_not_found`` is not None, return ``if_not_found`` instead.
        """
        is_optional = if_not_found is not None
        response = await self._get(backend, path, params, allow_not_found=is_optional)
        if response.status_code == httpx2.codes.NOT_FOUND:
            return if_not_found
        try:
            return response.json()
        except ValueError as error:
            quoted_text = response.text[:MAX_ERROR_TEXT]
            raise BackendError(
                f"{backend} at {self.urls[backend]} answered without JSON: {quoted_text}"
            ) from error

    async def _get(
        self,
        backend: str,
        path: str,
        params: dict[str, Any] | None = None,
        *,
        allow_not_found: bool = False,
    ) -> httpx2.Response:
        url = self.urls[backend]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await self.http.get(
                    url + path, params=params, headers={"accept": "application/json"}
                )
        except (httpx2.HTTPError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise BackendError(
                f"{backend} at {url}: {reason} (see: demo status, demo logs {backend})"
            ) from error
        is_allowed = allow_not_found and response.status_code == httpx2.codes.NOT_FOUND
        if not response.is_success and not is_allowed:
            text = response.text.strip()[:MAX_ERROR_TEXT]
            raise BackendError(f"{backend} at {url} answered {response.status_code}: {text}")
        return response


def _labels(labels: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of labels in Tempo's response; "nil" stands for no value."""
    for label in labels:
        value = str(next(iter(label.get("value", {}).values()), "nil"))
        if value != "nil":
            yield label["key"], value


def _start(trace: dict[str, Any]) -> int:
    """Return the start of a trace in a response of Tempo's search; Tempo leaves out zero."""
    return int(trace.get("startTimeUnixNano", 0))
