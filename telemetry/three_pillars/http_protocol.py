"""uvicorn's HTTP/1.1 protocol class, with limits that uvicorn lacks.

The request head (request line and headers) may have at most 64 KiB and take at most 10 s. At most
500 connections of a process may wait without a request: a new one closes the one that has waited
longest. uvicorn's own ``limit_concurrency`` counts waiting connections like requests, so that
clients that open connections and send nothing would keep all others out.
"""

import asyncio
import time

from three_pillars.upgrade_offers import UpgradeIgnoringProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 10.0
"""The longest time, in seconds, that a request head may take to arrive.

For the first request of a connection the time begins when the connection is opened. For a later
request it begins with the first byte. The remainder of a request body has the same time, if the
response was sent before the whole body arrived.
"""
MAX_IDLE_CONNECTIONS = 500
"""The number of connections without a request that one process keeps open.

With the common limit of 1,024 file descriptors, enough are left for requests and files.
"""


class BoundedHttpProtocol(UpgradeIgnoringProtocol):
    """uvicorn protocol that closes a connection whose request head is too long or takes too long.

    The limits are ``MAX_HEAD_BYTES`` and ``HEAD_TIMEOUT_S``. Of more than
    ``MAX_IDLE_CONNECTIONS``, those that have been idle longest are closed.
    """

    unparsed_bytes = 0
    """Bytes received since the parser last reported a complete head, body chunk or message."""
    request_complete = True
    """Whether the current request has been received completely, including its body.

    True before the first request.
    """
    timer: asyncio.TimerHandle | None = None
    """The running timer that closes the connection when it expires; None if there is none."""
    idle_since = 0.0
    """When the connection was opened or the last response ended, on the monotonic clock.

    The clock of uvloop has milliseconds, in which several connections may be opened.
    """

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered; the head of one may be arriving."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer that limits the time of the first request head.

        If there are too many idle connections now, close those that have been idle longest.
        """
        super().connection_made(transport)
        self.idle_since = time.monotonic()
        self._start_timer()
        if len(self.connections) > MAX_IDLE_CONNECTIONS:
            self._close_longest_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer, because the connection is closed."""
        self._reset_limits()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse ``data``, then enforce the limits on a request head that is still incomplete.

        If the head is too long, close the connection. Otherwise make sure that the timer runs.
        """
        self.unparsed_bytes += len(data)
        super().data_received(data)
        if self.unparsed_bytes > MAX_HEAD_BYTES:
            self.transport.close()
        elif self.unparsed_bytes and not self.timer:
            # No timer starts for a later request whose head arrives in one piece.
            self._start_timer()

    def on_message_begin(self) -> None:
        """Mark the request as incomplete: its first byte has been received."""
        super().on_message_begin()
        self.request_complete = False

    def on_headers_complete(self) -> None:
        """Cancel the timer: the head has been received."""
        super().on_headers_complete()
        self._reset_limits()

    def on_body(self, body: bytes) -> None:
        """Reset the count of unparsed bytes: the bytes received so far are parsed as body."""
        super().on_body(body)
        self.unparsed_bytes = 0

    def on_message_complete(self) -> None:
        """Cancel the timer: the whole request has been received."""
        super().on_message_complete()
        self.request_complete = True
        self._reset_limits()

    def on_response_complete(self) -> None:
        """After the response, limit the time of a request body that is still arriving.

        The application no longer reads the body, so its own time limit no longer applies.
        """
        super().on_response_complete()
        self.idle_since = time.monotonic()
        if self.request_complete or self.timer or self.transport.is_closing():
            return
        self._start_timer()

    def _close_longest_idle(self) -> None:
        connections = [
            connection
            for connection in self.connections
            if isinstance(connection, BoundedHttpProtocol) and connection.is_idle
        ]
        connections.sort(key=lambda connection: connection.idle_since)
        for connection in connections[:-MAX_IDLE_CONNECTIONS]:
            connection.transport.close()
            # The transport tells it only later, and uvicorn would count it until then.
            self.connections.discard(connection)

    def _start_timer(self) -> None:
        self.timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _reset_limits(self) -> None:
        self.unparsed_bytes = 0
        if self.timer:
            self.timer.cancel()
            self.timer = None
