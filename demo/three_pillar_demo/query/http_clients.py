"""The HTTP APIs of Tempo, Loki and Prometheus, in their own query languages, and what their answers mean."""

import asyncio
import base64
import os
import re
import time
from collections.abc import Sequence
from typing import Any, Self

import httpx2

from three_pillar_demo.query.interface import NANO, VERSION, BackendError, Exemplar, LogRecord, Span

TIMEOUT = 10.0
"""Seconds for one question."""
PORTS = {"tempo": 3200, "loki": 3100, "prometheus": 9090}
READY = {"tempo": "/ready", "loki": "/ready", "prometheus": "/-/ready"}


class HttpClients:
    """A connection to all three; use it as an async context manager. Times are in seconds since the epoch."""

    def __init__(self, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """Take the hosts from ``TEMPO_HOST``, ``LOKI_HOST`` and ``PROMETHEUS_HOST``; a ``transport`` stands in for all."""
        self.transport = transport
        self.urls = {
            name: f"http://{os.environ.get(name.upper() + '_HOST') or '127.0.0.1'}:{port}"
            for name, port in PORTS.items()
        }

    async def __aenter__(self) -> Self:
        """Open the client."""
        limits = httpx2.Limits(max_connections=16)
        self.http = httpx2.AsyncClient(
            timeout=TIMEOUT, trust_env=False, limits=limits, transport=self.transport
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await self.http.aclose()

    async def trace(self, trace_id: str) -> list[Span]:
        """All spans of a trace, in order of their start; empty when Tempo does not have it (yet)."""
        found = await self._json("tempo", f"/api/traces/{trace_id}", missing={"batches": []})
        spans = [
            _span(trace_id, batch, span)
            for batch in found["batches"]
            for scope in batch["scopeSpans"]
            for span in scope["spans"]
        ]
        return sorted(spans, key=lambda span: span.start)

    async def traceql(
        self, query: str, start: float, end: float, limit: int = 20
    ) -> dict[str, float]:
        """The traces that match, newest first, each with its end."""
        found = await self._json(
            "tempo", "/api/search", q=query, start=int(start), end=int(end) + 1, limit=limit
        )
        traces = sorted(
            found.get("traces", []), key=lambda trace: int(trace["startTimeUnixNano"]), reverse=True
        )
        # Tempo drops leading zeros, and durations under a millisecond.
        return {
            trace["traceID"].zfill(32): int(trace["startTimeUnixNano"]) / NANO
            + trace.get("durationMs", 0) / 1000
            for trace in traces
        }

    async def logql(
        self, query: str, start: float, end: float, limit: int = 1000, *, newest: bool = False
    ) -> list[LogRecord]:
        """The lines that match, oldest first, of more than ``limit`` the oldest; or ``newest`` first, the newest."""
        between = {"start": int(start * NANO), "end": int(end * NANO), "limit": limit}
        direction = "backward" if newest else "forward"
        found = await self._json(
            "loki", "/loki/api/v1/query_range", query=query, direction=direction, **between
        )
        lines = [
            LogRecord(
                int(time),
                fields.get("service_name", ""),
                fields.get("severity_text", ""),
                body,
                fields,
            )
            for stream in found["data"]["result"]
            for fields in [stream["stream"]]
            for time, body in stream["values"]
        ]
        return sorted(lines, key=lambda line: line.time, reverse=newest)

    async def promql(
        self, query: str, at: float | None = None
    ) -> list[tuple[dict[str, str], float]]:
        """The instant vector of ``query``, now or ``at`` another time."""
        found = await self._json("prometheus", "/api/v1/query", query=query, time=at or time.time())
        return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]

    async def promql_range(self, query: str, times: Sequence[float]) -> dict[float, float]:
        """The values of ``query``, which is of one series at most, at evenly spaced ``times``; NaN is left out."""
        step = times[1] - times[0] if len(times) > 1 else 1.0
        params = {"start": times[0], "end": times[-1], "step": round(step, 3)}
        found = await self._json("prometheus", "/api/v1/query_range", query=query, **params)
        values = (each for series in found["data"]["result"] for each in series["values"])
        return {round(time, 3): float(value) for time, value in values if value != "NaN"}

    async def promql_exemplars(self, query: str, start: float, end: float) -> list[Exemplar]:
        """The exemplars of the series in ``query``."""
        found = await self._json(
            "prometheus", "/api/v1/query_exemplars", query=query, start=start, end=end
        )
        return [
            Exemplar(
                each["labels"].get("trace_id", ""),
                float(each["value"]),
                each["timestamp"],
                series["seriesLabels"],
            )
            for series in found["data"]
            for each in series["exemplars"]
        ]

    async def figure(self, backend: str, name: str) -> int:
        """What a backend says of itself on its own ``/metrics``: the sum of a counter; 0 before its first event."""
        said = await self._get(backend, "/metrics")
        return round(
            sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)", said.text, re.MULTILINE)))
        )

    async def health(self) -> dict[str, str]:
        """By component, what is wrong with it; empty when it is up. Never raises."""

        async def look(backend: str) -> str:
            try:
                await self._get(backend, READY[backend])
            except BackendError as error:
                return str(error)
            return ""

        return dict(zip(PORTS, await asyncio.gather(*map(look, PORTS)), strict=True))

    async def _json(self, backend: str, path: str, missing: object = None, **params: Any) -> Any:  # noqa: ANN401  (JSON)
        response = await self._get(backend, path, **params, optional=missing is not None)
        try:
            return missing if response.status_code == httpx2.codes.NOT_FOUND else response.json()
        except ValueError as error:
            raise BackendError(
                f"{backend} at {self.urls[backend]} answered without JSON: {response.text[:300]}"
            ) from error

    async def _get(
        self, backend: str, path: str, *, optional: bool = False, **params: Any
    ) -> httpx2.Response:
        url = self.urls[backend]
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await self.http.get(
                    url + path, params=params, headers={"accept": "application/json"}
                )
            return (
                response
                if optional and response.status_code == httpx2.codes.NOT_FOUND
                else response.raise_for_status()
            )
        except httpx2.HTTPStatusError as error:
            said = error.response.text.strip()[:300]
            raise BackendError(
                f"{backend} at {url} answered {error.response.status_code}: {said}"
            ) from error
        except (httpx2.HTTPError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise BackendError(
                f"{backend} at {url}: {reason} (see: demo status, demo logs {backend})"
            ) from error


def _span(trace_id: str, batch: dict[str, Any], span: dict[str, Any]) -> Span:
    status, resource = span.get("status", {}), _attributes(batch["resource"])
    events = (
        _attributes(event) for event in span.get("events", []) if event["name"] == "exception"
    )
    exceptions = (
        ": ".join(str(each[key]) for key in ("exception.type", "exception.message") if key in each)
        for each in events
    )
    return Span(
        trace_id=trace_id,
        span_id=_hex(span["spanId"]),
        parent_id=_hex(span.get("parentSpanId", "")),
        service=str(resource.get("service.name", "")),
        name=span["name"],
        kind=span.get("kind", "").removeprefix("SPAN_KIND_"),
        start=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
        error=status.get("code") == "STATUS_CODE_ERROR",
        message=status.get("message", ""),
        attributes={VERSION: resource[VERSION]} | _attributes(span)
        if VERSION in resource
        else _attributes(span),
        exceptions=tuple(exceptions),
    )


def _attributes(owner: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: _value(each["value"]) for each in owner.get("attributes", [])}


def _value(said: dict[str, Any]) -> Any:  # noqa: ANN401  (any attribute's)
    """OTLP's JSON names the type of each value, and writes whole numbers as text."""
    match said:
        case {"intValue": value}:
            return int(value)
        case {"doubleValue": value}:
            return float(value)
        case {"arrayValue": value}:
            return [_value(each) for each in value.get("values", [])]
        case {"kvlistValue": value}:
            return {each["key"]: _value(each["value"]) for each in value.get("values", [])}
    return next(iter(said.values()), None)


def _hex(encoded: str) -> str:
    """Tempo's JSON has ids in base64; the rest of the house spells them in hex."""
    return base64.b64decode(encoded).hex()
