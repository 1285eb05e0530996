"""One pure ASGI middleware: counts every request once and writes its one canonical line.

It sees every request, also those that never reach a handler (404, 405, 413, 422) and those whose handler crashes.
A service adds to the line by binding context: ``structlog.contextvars.bind_contextvars(outcome="declined")``.
"""

import time
from collections.abc import Sequence

import structlog
from opentelemetry.metrics import Meter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry.logs import TOLD

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""Methods that may become a label; anything else a client makes up is ``_OTHER``, as in OpenTelemetry's HTTP conventions."""

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds; the boundaries that the HTTP conventions give ``http.server.request.duration``."""

CLIENT_ERROR, SERVER_ERROR = 400, 500
CLIENT_GONE = 499
"""The status nginx made customary for a request that ended without an answer."""


class RequestsMiddleware:
    """Records ``<prefix>_requests_total`` and ``<prefix>_request_latency_seconds``; changes nothing about the request."""

    def __init__(self, app: ASGIApp, *, prefix: str, meter: Meter, quiet: Sequence[str]) -> None:
        self.app = app
        self.quiet = frozenset(quiet)
        self.log = structlog.get_logger().bind()
        self.requests = meter.create_counter(f"{prefix}.requests", unit="{request}", description="Requests answered.")
        name, buckets = f"{prefix}.request.latency", LATENCY_BUCKETS
        self.latency = meter.create_histogram(name, "s", "Time to answer.", explicit_bucket_boundaries_advisory=buckets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; whatever becomes of it, count it and write its line."""
        if scope["type"] != "http" or scope["path"] in self.quiet:
            await self.app(scope, receive, send)
            return
        structlog.contextvars.clear_contextvars()
        status = CLIENT_GONE

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = time.perf_counter()
        crash: Exception | None = None
        try:
            await self.app(scope, receive, send_and_note)
        except Exception as error:
            status, crash = SERVER_ERROR, error
            setattr(error, TOLD, True)
            raise
        finally:
            self._tell(scope, status, time.perf_counter() - start, crash)

    def _tell(self, scope: Scope, status: int, seconds: float, crash: Exception | None) -> None:
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        endpoint = getattr(scope.get("route"), "path", "unmatched")
        self.requests.add(1, {"method": method, "endpoint": endpoint, "status": str(status)})
        self.latency.record(seconds, {"endpoint": endpoint})
        line: dict[str, object] = {
            "http.request.method": method,
            "http.route": endpoint,
            "http.response.status_code": status,
            "http.server.request.duration": round(seconds, 6),
        }
        outcome = structlog.contextvars.get_contextvars().get("outcome")
        if crash or not outcome:  # the service named none
            by_class = {4: "invalid", 5: "failed"}.get(status // 100, "success")
            line["outcome"] = outcome = "crashed" if crash else "abandoned" if status == CLIENT_GONE else by_class
        if crash:
            line |= {"error.type": type(crash).__qualname__, "exc_info": crash}
        write = self.log.error if status >= SERVER_ERROR else self.log.warning if status >= CLIENT_ERROR else self.log.info
        write(f"{method} {endpoint} {status} {outcome}", **line)
