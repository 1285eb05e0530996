"""Limits on a request body: its size and the time it takes to arrive."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024
BODY_TIMEOUT_S = 10.0
MAX_LENGTH_DIGITS = 20
"""How many digits of the header Content-Length are read.

A number of 20 digits exceeds any limit, and to read more digits would only cost time.
"""


class BodyLimitMiddleware:
    """ASGI middleware that refuses a request body that is too large or takes too long to arrive.

    A body over 64 KiB is refused with status 413, with or without a Content-Length. A body that
    takes over 10 s to arrive is refused with status 408. The application must handle Starlette's
    ``HTTPException``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with a ``receive`` that enforces the limits on size and time."""
        body = _LimitedBody(scope, receive)
        await self.app(scope, body.receive, send)


class _LimitedBody:
    """The body of one request, whose size and time are limited while the application receives it.

    ``receive`` raises ``HTTPException``, so the application's exception handler sends the response
    while the span of the request is open. The response closes the connection, because the client
    may still be sending a body that nothing will read.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._declared_bytes = _declared_length(scope)
        self._received_bytes = 0
        self._complete = False
        self._deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S

    async def receive(self) -> Message:
        """Return the next ASGI message of the request.

        Raises:
            HTTPException: The body is too large (413) or takes too long (408).
        """
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
    """Return the Content-Length of the request in bytes, or 0 if it is absent or invalid."""
    length = dict(scope.get("headers", ())).get(b"content-length", b"")[:MAX_LENGTH_DIGITS]
    return int(length) if length.isdigit() else 0
