"""One pure ASGI middleware: counts every request once and writes its one canonical line, when its last byte is sent.

It sees every request, also those that never reach a handler (404, 405, 413, 422) and those whose handler crashes.
A service adds to the line by binding context: ``structlog.contextvars.bind_contextvars(outcome="declined")``, in a coroutine:
a plain ``def`` handler, and one behind ``BaseHTTPMiddleware``, runs in a copy of the context.
"""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

import structlog
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .boundary import ORIGINALS, ROUTE
from .logs import TOLD

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)
"""Methods that may become a label; anything else a client makes up is ``_OTHER``, as in OpenTelemetry's HTTP conventions."""

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds; the boundaries that the HTTP conventions give ``http.server.request.duration``."""

CLIENT_ERROR, SERVER_ERROR = 400, 500
CLIENT_GONE = 499
"""The status nginx made customary for a request that ended without its last byte."""


class RequestsMiddleware:
    """Records ``<prefix>.requests``, ``<prefix>.request.latency``, ``http.server.*``; changes no answer that is heard.

    The time is that to the last byte of the body: for a background task nobody waits. A crash before that byte is a 500
    in every pillar, even where the first line of the answer said 200; a crash after it is a line of its own.
    """

    def __init__(
        self, app: ASGIApp, *, prefix: str, meter: Meter, active: Counter[tuple[str, ...]]
    ) -> None:
        """Count into ``active`` what is under way; apps that share a ``meter`` share it, for the instrument is made once."""
        self.app, self.active = app, active
        self.log = structlog.get_logger().bind()
        self.requests = meter.create_counter(
            f"{prefix}.requests", unit="{request}", description="Requests answered."
        )
        # Looked at once an export: up and down by the SDK would be four measurements more for every request.
        meter.create_observable_up_down_counter(
            "http.server.active_requests", [self._under_way], "{request}", "Requests under way."
        )
        self.times = [
            meter.create_histogram(
                name,
                "s",
                "Time to the last byte.",
                explicit_bucket_boundaries_advisory=LATENCY_BUCKETS,
            )
            for name in (f"{prefix}.request.latency", "http.server.request.duration")
        ]

    def _under_way(self, _options: CallbackOptions) -> Iterable[Observation]:
        labels = ("http.request.method", "url.scheme")
        return [
            Observation(count, dict(zip(labels, key, strict=True)))
            for key, count in list(self.active.items())
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; whatever becomes of it, count it and write its line."""
        scope = {**scope, **scope[ORIGINALS]}
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        structlog.contextvars.clear_contextvars()
        teller = _Teller(self, scope)

        async def receive_and_note() -> Message:
            message = await receive()
            teller.gone = teller.gone or message["type"] == "http.disconnect"
            return message

        async def send_and_note(message: Message) -> None:
            if teller.gone:  # nobody is there: an answer to a body that ended half-way is none
                return
            await send(message)
            if message["type"] == "http.response.start":
                teller.status = message["status"]
            elif message["type"] in {
                "http.response.body",
                "http.response.pathsend",
            } and not message.get("more_body"):
                teller.ended()

        try:
            await self.app(scope, receive_and_note, send_and_note)
        except Exception as error:
            with suppress(AttributeError):  # a frozen one
                setattr(error, TOLD, True)
            teller.tell(error)
            raise
        finally:
            teller.tell()


class _Teller:
    """Tells of one request, once."""

    def __init__(self, to: RequestsMiddleware, scope: Scope) -> None:
        self.to, self.told, self.gone, self.status, self.start, self.seconds = (
            to,
            False,
            False,
            0,
            time.perf_counter(),
            0.0,
        )
        self.span = trace.get_current_span()
        self.context = trace.set_span_in_context(
            self.span
        )  # the last byte may be sent from another one
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        scheme = (
            "https" if scope.get("scheme") in {"https", "wss"} else "http"
        )  # a proxy may say wss
        self.known = {"http.request.method": method, "url.scheme": scheme}
        to.active[method, scheme] += 1
        self.route = route = scope[ROUTE]
        self.what = f"{method} {route or 'unmatched'}"
        self.labels = {
            **self.known,
            "network.protocol.version": scope["http_version"],
            **({"http.route": route} if route else {}),
        }

    def ended(self) -> None:
        """Note the last byte. A mounted app sends its 500 before the crash goes on to us: that is told when it has come."""
        self.seconds = time.perf_counter() - self.start
        if self.status < SERVER_ERROR:
            self.tell()

    def tell(self, crash: Exception | None = None) -> None:
        """Count it and write its line, the first time; later only a crash is news."""
        broken = SERVER_ERROR if crash else CLIENT_GONE
        status = self.status if self.seconds else broken
        failed = (
            {"error.type": type(crash).__qualname__ if crash else str(status)}
            if crash or status >= SERVER_ERROR
            else {}
        )
        if self.told and crash:
            self.to.log.error(f"{self.what} failed after its answer", **failed, exc_info=crash)
        if self.told:
            return
        self.told, seconds = True, self.seconds or time.perf_counter() - self.start
        method, endpoint = self.known["http.request.method"], self.route or "unmatched"
        code = {"http.response.status_code": status}
        self.to.active[method, self.known["url.scheme"]] -= 1
        self.to.requests.add(
            1, {"method": method, "endpoint": endpoint, "status": str(status)}, self.context
        )
        for histogram, labels in zip(
            self.to.times, ({"endpoint": endpoint}, {**self.labels, **code, **failed}), strict=True
        ):
            histogram.record(seconds, labels, self.context)
        if self.span.is_recording():  # else it ended with the last byte
            self.span.set_attributes(code)
        took: dict[str, object] = {"http.server.request.duration": round(seconds, 6)}
        line = {"http.request.method": method, "http.route": endpoint, **code, **took}
        outcome = structlog.contextvars.get_contextvars().get("outcome")
        if (
            crash or status == CLIENT_GONE or not outcome
        ):  # the service named none, or one that nobody heard
            by_class = {4: "invalid", 5: "failed"}.get(status // 100, "success")
            line["outcome"] = outcome = (
                "crashed" if crash else "abandoned" if status == CLIENT_GONE else by_class
            )
        if crash:
            line |= {**failed, "exc_info": crash}
        log = self.to.log
        write = (
            log.error
            if status >= SERVER_ERROR
            else log.warning
            if status >= CLIENT_ERROR
            else log.info
        )
        write(f"{self.what} {status} {outcome}", **line)
