"""ASGI middleware that counts each request once and writes one log line for it.

The line is the canonical log line of the request. Requests that never reach a handler (404, 405,
413, 422) and requests whose handler crashes are recorded too.

A request is recorded when the last byte of its response is sent. A request with status 5xx, or
without a complete response, is recorded when the application has ended, because an exception may
follow the response and names the error.

A service adds fields to the line by ``structlog.contextvars.bind_contextvars(outcome="declined")``
in an ``async def`` handler. A plain ``def`` handler, and every handler behind
``BaseHTTPMiddleware``, runs in a copy of the context, so the fields that it binds are lost.
"""

import time
from collections import Counter
from contextlib import suppress

import structlog
from opentelemetry import trace
from opentelemetry.metrics import Meter
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from .boundary import ORIGINAL_SCOPE, ROUTE_TEMPLATE, restore_headers
from .http_methods import KNOWN_METHODS
from .logs import ALREADY_LOGGED
from .request_labels import RequestLabels
from .request_metrics import RequestMetrics
from .request_tally import RequestTally

BODY_MESSAGES = frozenset({"http.response.body", "http.response.pathsend"})
"""Types of the ASGI messages that carry the response body.

Messages of other types, from ASGI extensions, may come before them and are ignored.
"""

CLIENT_ERROR = 400
CLIENT_GONE = 499
"""The status recorded if the client disconnects before the whole response is sent, as in nginx."""
SERVER_ERROR = 500


class RequestRecorderMiddleware:
    """ASGI middleware that records each HTTP request in the metrics, in its span and in the log.

    The measured time ends with the last byte of the response body, before background tasks run.
    An exception before that byte is recorded as status 500, even if the client has already received
    the status 200. An exception after that byte gets a log line of its own, unless the status is
    5xx: then it is part of the canonical log line.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        prefix: str,
        meter: Meter,
        active_requests: Counter[tuple[str, ...]],
        tally: RequestTally | None,
    ) -> None:
        """Wrap ``app``, and create the request metrics from the other arguments.

        ``RequestMetrics`` explains these arguments.
        """
        self.app = app
        self.metrics = RequestMetrics(prefix, meter, active_requests, tally)
        self.log: FilteringBoundLogger = structlog.get_logger().bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application and record the request.

        The application gets the original headers, query string and ``app`` of the scope, which
        ``BoundaryMiddleware`` had replaced.
        """
        sanitized_scope = scope
        scope = {**scope, **scope[ORIGINAL_SCOPE]}
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        structlog.contextvars.clear_contextvars()
        recorder = RequestRecorder(self.metrics, self.log, scope)

        async def observed_receive() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                recorder.client_gone = True
            return message

        async def observed_send(message: Message) -> None:
            if recorder.client_gone:
                # Nobody receives it. The response to a request whose body broke off does not count.
                return
            await send(message)
            recorder.message_sent(message)

        try:
            await self.app(scope, observed_receive, observed_send)
        except Exception as error:
            restore_headers(sanitized_scope)
            _mark_as_logged(error)
            recorder.record(error)
            raise
        finally:
            recorder.record()


class RequestRecorder:
    """Records one request once: its metrics, the status of its span and its canonical log line."""

    def __init__(self, metrics: RequestMetrics, log: FilteringBoundLogger, scope: Scope) -> None:
        """Start to measure the time, and count the request as active."""
        self.metrics = metrics
        self.log = log
        self.client_gone = False
        self._recorded = False
        self._status = 0
        self._started_at = time.perf_counter()
        self._seconds: float | None = None  # until the last byte, once that has been sent
        # Kept because the last byte may be sent from a task with another context.
        self._span = trace.get_current_span()
        self._method = scope["method"] if scope["method"] in KNOWN_METHODS else "_OTHER"
        # A proxy may report the scheme of a websocket.
        self._scheme = "https" if scope.get("scheme") in {"https", "wss"} else "http"
        self._protocol_version = scope["http_version"]
        self._route = scope[ROUTE_TEMPLATE]
        self._endpoint = self._route or "unmatched"
        metrics.active_requests[self._method, self._scheme] += 1

    def message_sent(self, message: Message) -> None:
        """Keep the status of the response; record the request if the last response byte was sent.

        A request with status 5xx is not recorded here: ``RequestRecorderMiddleware`` records it
        when the application has ended.
        """
        message_type = message["type"]
        if message_type == "http.response.start":
            self._status = message["status"]
        elif message_type in BODY_MESSAGES and not message.get("more_body"):
            self._last_byte_sent()

    def _last_byte_sent(self) -> None:
        self._seconds = time.perf_counter() - self._started_at
        # A mounted application sends its 500 before its exception reaches this middleware. Such a
        # request is recorded when the exception arrives, because it names the error.
        if self._status < SERVER_ERROR:
            self.record()

    def record(self, crash: Exception | None = None) -> None:
        """Record the request once; ``crash`` is the exception that the application raised, or None.

        A later call records nothing again. It only logs ``crash``, if there is one.
        """
        if self._recorded:
            if crash:
                self._log_crash_after_response(crash)
            return
        self._recorded = True
        status = self._final_status(crash)
        seconds = self._seconds
        if seconds is None:
            seconds = time.perf_counter() - self._started_at
        error_type = _error_type(status, crash)
        self._record_metrics(status, seconds, error_type)
        if self._span.is_recording():  # otherwise the span ended with the last byte
            self._span.set_attribute("http.response.status_code", status)
        self._log_request(status, seconds, crash)

    def _final_status(self, crash: Exception | None) -> int:
        """Return the status to record.

        If the whole response was sent, this is the status of the response. Otherwise it is 500 if
        ``crash`` is an exception, and 499 if it is None.
        """
        if self._seconds is not None:
            return self._status
        return SERVER_ERROR if crash else CLIENT_GONE

    def _record_metrics(self, status: int, seconds: float, error_type: str | None) -> None:
        labels = RequestLabels(
            method=self._method,
            route=self._route,
            scheme=self._scheme,
            protocol_version=self._protocol_version,
            status=status,
            error_type=error_type,
        )
        self.metrics.active_requests[self._method, self._scheme] -= 1
        self.metrics.record(labels, seconds, self._span)

    def _log_request(self, status: int, seconds: float, crash: Exception | None) -> None:
        """Write the canonical log line: at level error for 5xx, warning for 4xx, otherwise info."""
        outcome = _outcome(status, crash)
        fields: dict[str, object] = {
            "http.request.method": self._method,
            "http.route": self._endpoint,
            "http.response.status_code": status,
            "http.server.request.duration": round(seconds, 6),
            "outcome": outcome,
        }
        if crash:
            fields["error.type"] = type(crash).__qualname__
            fields["exc_info"] = crash
        event = f"{self._method} {self._endpoint} {status} {outcome}"
        if status >= SERVER_ERROR:
            self.log.error(event, **fields)
        elif status >= CLIENT_ERROR:
            self.log.warning(event, **fields)
        else:
            self.log.info(event, **fields)

    def _log_crash_after_response(self, crash: Exception) -> None:
        self.log.error(
            f"{self._method} {self._endpoint} failed after its response was sent",
            exc_info=crash,
            **{"error.type": type(crash).__qualname__},
        )


def _error_type(status: int, crash: Exception | None) -> str | None:
    """Return the value of the attribute ``error.type``, which the HTTP semantic conventions define.

    It is the class name of ``crash`` if the application raised an exception. Without an exception
    it is the status if this is 5xx, and otherwise None.
    """
    if crash:
        return type(crash).__qualname__
    return str(status) if status >= SERVER_ERROR else None


def _outcome(status: int, crash: Exception | None) -> object:
    """Return the outcome of the request for its log line.

    It is ``crashed`` after an exception and ``abandoned`` for status 499. Otherwise it is the
    ``outcome`` that the service has bound with ``bind_contextvars``. If the service has bound none,
    it is ``failed`` (5xx), ``invalid`` (4xx) or ``success``.
    """
    if crash:
        return "crashed"
    if status == CLIENT_GONE:
        return "abandoned"
    bound_outcome = structlog.contextvars.get_contextvars().get("outcome")
    if bound_outcome:
        return bound_outcome
    if status >= SERVER_ERROR:
        return "failed"
    return "invalid" if status >= CLIENT_ERROR else "success"


def _mark_as_logged(error: Exception) -> None:
    """Mark ``error`` as logged, so that uvicorn's record of it is suppressed."""
    with suppress(AttributeError):  # an exception may be frozen
        setattr(error, ALREADY_LOGGED, True)
