"""HTTP by uvicorn's fast parser, with two limits that it lacks: how long a request's head is, and how long it may take."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 10.0
"""From the first byte, or from the connection, to the empty line; likewise for what is left of a request after its answer."""


class BoundedProtocol(HttpToolsProtocol):
    """Hangs up on who sends a head without an end, or takes too long over one; a head that comes at once costs no timer."""

    head = 0
    """Bytes since the parser last had something for us: what it holds."""
    whole = True
    """Whether the request, its body included, is here."""
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what does not become anything."""
        self.head += len(data)
        super().data_received(data)
        if self.head > HEAD_BYTES:
            self.transport.close()
        elif self.head and not self.timer:
            self._wait()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.whole = False

    def on_headers_complete(self) -> None:
        """Its head is here."""
        super().on_headers_complete()
        self._wait_no_more()

    def on_body(self, body: bytes) -> None:
        """A piece of its body is here."""
        super().on_body(body)
        self.head = 0

    def on_message_complete(self) -> None:
        """All of it is here."""
        super().on_message_complete()
        self.whole = True
        self._wait_no_more()

    def on_response_complete(self) -> None:
        """It has its answer; nobody reads what is left of it, so that may not take long either."""
        super().on_response_complete()
        if not (self.whole or self.timer or self.transport.is_closing()):
            self._wait()

    def _wait(self) -> None:
        self.timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        self.head = 0
        if self.timer:
            self.timer.cancel()
            self.timer = None
