"""Asks Tempo, Loki and Prometheus one question each, over their HTTP APIs."""

import asyncio
import base64
import os
import time
from dataclasses import dataclass
from typing import Any, Self

import httpx2

TIMEOUT = 10.0
"""Seconds for one question."""
NANO = 1_000_000_000
NOT_FOUND = 404


class BackendError(Exception):
    """A backend is not there, or did not understand the question."""


@dataclass(frozen=True)
class Span:
    """One span; times in nanoseconds since the epoch, ids in hex."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start: int
    end: int
    error: bool
    message: str
    attributes: dict[str, Any]
    exceptions: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One log line; ``time`` in nanoseconds since the epoch, ``fields`` as Loki names them (``trace_id``, ``outcome``)."""

    time: int
    service: str
    severity: str
    body: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Exemplar:
    """One exemplar: a measured ``value``, where it was counted, and the trace it came from."""

    trace_id: str
    value: float
    time: float
    labels: dict[str, str]


class Backends:
    """A connection to all three; use it as an async context manager."""

    def __init__(self) -> None:
        """Take the hosts from ``TEMPO_HOST``, ``LOKI_HOST`` and ``PROMETHEUS_HOST``; the ports are the house's own."""
        self.urls = {
            name: f"http://{os.environ.get(name.upper() + '_HOST', '127.0.0.1')}:{port}"
            for name, port in (("tempo", 3200), ("loki", 3100), ("prometheus", 9090))
        }

    async def __aenter__(self) -> Self:
        """Open the client."""
        self.http = httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False, limits=httpx2.Limits(max_connections=16))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await self.http.aclose()

    async def trace(self, trace_id: str) -> list[Span]:
        """All spans of a trace, in order of their start; empty when Tempo does not have it (yet)."""
        found = await self._get("tempo", f"/api/traces/{trace_id}", missing={"batches": []})
        spans = [
            _span(trace_id, batch, span)
            for batch in found["batches"]
            for scope in batch["scopeSpans"]
            for span in scope["spans"]
        ]
        return sorted(spans, key=lambda span: span.start)

    async def search(self, traceql: str, start: float, end: float, limit: int = 20) -> list[str]:
        """Trace ids that match, newest first; ``start`` and ``end`` in seconds since the epoch."""
        found = await self._get("tempo", "/api/search", q=traceql, start=int(start), end=int(end) + 1, limit=limit)
        traces = sorted(found.get("traces", []), key=lambda trace: int(trace["startTimeUnixNano"]), reverse=True)
        return [trace["traceID"].zfill(32) for trace in traces]  # Tempo drops leading zeros

    async def lines(self, logql: str, start: float, end: float, limit: int = 1000) -> list[Line]:
        """Log lines that match, oldest first; ``start`` and ``end`` in seconds since the epoch."""
        found = await self._get(
            "loki",
            "/loki/api/v1/query_range",
            query=logql,
            start=int(start * NANO),
            end=int(end * NANO),
            limit=limit,
            direction="forward",
        )
        lines = [
            Line(int(time), fields.get("service_name", ""), fields.get("severity_text", ""), body, fields)
            for stream in found["data"]["result"]
            for fields in [stream["stream"]]
            for time, body in stream["values"]
        ]
        return sorted(lines, key=lambda line: line.time)

    async def samples(self, promql: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """The instant vector of ``promql``, now or ``at`` seconds since the epoch."""
        found = await self._get("prometheus", "/api/v1/query", query=promql, time=at or time.time())
        return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]

    async def exemplars(self, promql: str, start: float, end: float) -> list[Exemplar]:
        """The exemplars of ``promql``'s series between ``start`` and ``end``, seconds since the epoch."""
        found = await self._get("prometheus", "/api/v1/query_exemplars", query=promql, start=start, end=end)
        return [
            Exemplar(each["labels"].get("trace_id", ""), float(each["value"]), each["timestamp"], series["seriesLabels"])
            for series in found["data"]
            for each in series["exemplars"]
        ]

    async def _get(self, backend: str, path: str, missing: dict[str, Any] | None = None, **params: Any) -> Any:  # noqa: ANN401  (JSON)
        url = self.urls[backend]
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await self.http.get(url + path, params=params, headers={"accept": "application/json"})
            if response.status_code == NOT_FOUND and missing is not None:
                return missing
            response.raise_for_status()
            return response.json()
        except httpx2.HTTPStatusError as error:
            said = error.response.text.strip()[:300]
            raise BackendError(f"{backend} at {url} answered {error.response.status_code}: {said}") from error
        except (httpx2.HTTPError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise BackendError(f"{backend} at {url}: {reason} (see: demo status, demo logs {backend})") from error


def _span(trace_id: str, batch: dict[str, Any], span: dict[str, Any]) -> Span:
    status = span.get("status", {})
    events = (_attributes(event) for event in span.get("events", []) if event["name"] == "exception")
    exceptions = (
        ": ".join(str(each[key]) for key in ("exception.type", "exception.message") if key in each) for each in events
    )
    return Span(
        trace_id=trace_id,
        span_id=_hex(span["spanId"]),
        parent_id=_hex(span.get("parentSpanId", "")),
        service=str(_attributes(batch["resource"]).get("service.name", "")),
        name=span["name"],
        kind=span.get("kind", "").removeprefix("SPAN_KIND_"),
        start=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
        error=status.get("code") == "STATUS_CODE_ERROR",
        message=status.get("message", ""),
        attributes=_attributes(span),
        exceptions=tuple(exceptions),
    )


def _attributes(owner: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values()), None) for each in owner.get("attributes", [])}


def _hex(encoded: str) -> str:
    """Tempo's JSON has ids in base64; the rest of the house spells them in hex."""
    return base64.b64decode(encoded).hex()
