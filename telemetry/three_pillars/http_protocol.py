"""HTTP/1.1 by uvicorn's httptools parser, with two limits that uvicorn lacks.

A request head (request line and headers) may only have a certain size and take a certain time.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 10.0
"""Time from the opening of the connection, or from the first byte of a later request, to the empty
line that ends the head. The rest of a request that was answered early has the same time."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request head is too long or takes too long.

    A head that arrives in one piece costs no timer.
    """

    unparsed_bytes = 0
    """Bytes received since the parser last reported a complete head, body chunk or message."""
    request_complete = True
    """Whether the current request has been received, body included."""
    timer: asyncio.TimerHandle | None = None
    """Closes the connection when it expires."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._reset_limits()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse ``data`` and enforce the limits on what the parser still holds."""
        self.unparsed_bytes += len(data)
        super().data_received(data)
        if self.unparsed_bytes > MAX_HEAD_BYTES:
            self.transport.close()
        elif self.unparsed_bytes and not self.timer:
            self._start_timer()

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        super().on_message_begin()
        self.request_complete = False

    def on_headers_complete(self) -> None:
        """Cancel the timer: the head has been received."""
        super().on_headers_complete()
        self._reset_limits()

    def on_body(self, body: bytes) -> None:
        """Forget the bytes that have become a part of the body."""
        super().on_body(body)
        self.unparsed_bytes = 0

    def on_message_complete(self) -> None:
        """Cancel the timer: the whole request has been received."""
        super().on_message_complete()
        self.request_complete = True
        self._reset_limits()

    def on_response_complete(self) -> None:
        """Start the timer if the request is still arriving: nothing reads the rest of it now."""
        super().on_response_complete()
        if self.request_complete or self.timer or self.transport.is_closing():
            return
        self._start_timer()

    def _start_timer(self) -> None:
        self.timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _reset_limits(self) -> None:
        self.unparsed_bytes = 0
        if self.timer:
            self.timer.cancel()
            self.timer = None
