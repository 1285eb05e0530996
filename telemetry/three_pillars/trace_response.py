"""ASGI middleware that adds the header ``traceresponse`` to each response.

OpenTelemetry's response propagator does the same, and is called for each part of a response, also
for those without headers. This layer is outside of the instrumentation, and sees the response last.
"""

from opentelemetry.instrumentation.propagators import (
    TraceResponsePropagator,
    get_global_response_propagator,
)
from opentelemetry.trace import SpanContext
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SPAN_CONTEXT = "three_pillars.span_context"
"""Key in the ASGI scope for the span context of the SERVER span, once that has started."""

MESSAGES_WITH_HEADERS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
"""Types of the ASGI messages that carry the headers of a response."""


class TraceResponseMiddleware:
    """ASGI middleware that adds the headers of ``TraceResponsePropagator`` to each response.

    It adds nothing if the request has no span, or while that propagator is the global one, because
    another application of the process uses it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with a ``send`` that adds the headers."""

        async def send_with_trace_id(message: Message) -> None:
            if message["type"] in MESSAGES_WITH_HEADERS:
                span_context = scope.get(SPAN_CONTEXT)
                if span_context and span_context.is_valid and not _is_added_by_propagator():
                    message = _with_headers(message, span_context)
            await send(message)

        await self.app(scope, receive, send_with_trace_id)


def _is_added_by_propagator() -> bool:
    propagator: object = get_global_response_propagator()  # type: ignore[no-untyped-call]
    return isinstance(propagator, TraceResponsePropagator)


def _with_headers(message: Message, span_context: SpanContext) -> Message:
    """Return a copy of ``message`` with two more headers; a page may read the first because of it.

    The application may send the same list of headers again, so it is not changed.
    """
    trace_response = (
        f"00-{span_context.trace_id:032x}-{span_context.span_id:016x}"
        f"-{span_context.trace_flags:02x}"
    )
    headers = [
        *(message.get("headers") or ()),
        (b"traceresponse", trace_response.encode()),
        (b"access-control-expose-headers", b"traceresponse"),
    ]
    return {**message, "headers": headers}
