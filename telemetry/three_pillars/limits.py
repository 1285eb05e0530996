"""Limits on a request body: its size and the time it takes to arrive."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024
BODY_TIMEOUT_S = 10.0
MAX_LENGTH_DIGITS = 20
"""Digits of Content-Length that are read. Twenty are over any limit already."""


class BodyLimitMiddleware:
    """ASGI middleware that refuses a large request body with 413 and a slow one with 408.

    The size limit holds for a body that declares its length and for one sent in chunks. The
    application must handle Starlette's ``HTTPException``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with a ``receive`` that enforces both limits."""
        body = _LimitedBody(scope, receive)
        await self.app(scope, body.receive, send)


class _LimitedBody:
    """The body of one request, counted while the application receives it.

    The limits raise from inside ``receive``, so that the application's own handler answers within
    the span and with the trace id. The refusals close the connection, because the rest of the body
    is still being sent and nothing will read it.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._declared_bytes = _declared_length(scope)
        self._received_bytes = 0
        self._complete = False
        self._deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S

    async def receive(self) -> Message:
        """Return the next ASGI message; raises HTTPException with 413 or 408 over a limit."""
        if self._complete:
            # An application that still receives is waiting for http.disconnect, for as long as it
            # takes.
            return await self._receive()
        if self._declared_bytes > MAX_BODY_BYTES:
            self._complete = True
            raise _too_large()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                408,
                f"request body not received within {BODY_TIMEOUT_S:g} s",
                {"connection": "close"},
            ) from None
        self._received_bytes += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._received_bytes > MAX_BODY_BYTES:
            raise _too_large()
        return message


def _too_large() -> HTTPException:
    return HTTPException(413, f"request body over {MAX_BODY_BYTES} bytes", {"connection": "close"})


def _declared_length(scope: Scope) -> int:
    """Return the Content-Length of the request, or 0 if it has none or an invalid one."""
    length = dict(scope.get("headers", ())).get(b"content-length", b"")[:MAX_LENGTH_DIGITS]
    return int(length) if length.isdigit() else 0
