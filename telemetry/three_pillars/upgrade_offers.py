"""uvicorn's HTTP/1.1 protocol class, which reads the body of a request that offers an upgrade.

A client may offer another protocol with ``Connection: Upgrade`` and ``Upgrade: h2c``, and a server
may ignore the offer (RFC 9110, 7.8). Java's HttpClient and ``curl --http2`` do so in their first
request. httptools ends the request after its headers in this case, so uvicorn calls the
application without the body, and takes the body for the next request (MagicStack/httptools#124,
Kludex/uvicorn#2722).
"""

import asyncio
from array import array

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

WEBSOCKET_METHOD = b"GET"
"""The only method of a WebSocket handshake (RFC 6455, 4.1)."""
TUNNEL_METHOD = b"CONNECT"
"""The method that httptools always takes for an upgrade; it asks for a tunnel, as of a proxy."""


class _Parser(httptools.HttpRequestParser):
    """httptools' parser, which also keeps where it stopped at an upgrade."""

    consumed_bytes = 0
    """How many bytes of the last data the parser had read when it reported an upgrade."""

    def feed_data(self, data: "bytes | bytearray | memoryview[int] | array[int]") -> None:
        """Parse ``data``.

        Raises:
            httptools.HttpParserError: ``data`` is not HTTP.
            httptools.HttpParserUpgrade: The request offers an upgrade; its head has been read.
        """
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            (self.consumed_bytes,) = upgrade.args
            raise


class UpgradeIgnoringProtocol(HttpToolsProtocol):
    """uvicorn protocol that ignores each offer of an upgrade, except a WebSocket handshake.

    httptools cannot be told to ignore an offer. So this class lets it parse the head, then gives
    the same head without the header ``Upgrade`` to a new parser, and the rest of the data after
    it. The application receives the headers unchanged.
    """

    parser: _Parser
    offer_ignored = False
    """Whether the parser has just read the head of a request whose offer is to be ignored."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Use a parser that keeps where it stopped."""
        super().connection_made(transport)
        self.parser = self._new_parser()

    def data_received(self, data: bytes) -> None:
        """Parse ``data``; after a head that offers an upgrade, continue with a new parser.

        A request with the method CONNECT is answered with 400, and its connection is closed.
        """
        super().data_received(data)
        rest = memoryview(data)
        while self.offer_ignored and not self.transport.is_closing():
            self.offer_ignored = False
            if self.parser.get_method() == TUNNEL_METHOD:
                self.send_400_response("CONNECT is not supported.")
                return
            rest = rest[self.parser.consumed_bytes :]
            self._parse_head_again()
            # uvicorn only passes the data on to the parser, which accepts any buffer.
            super().data_received(rest)  # type: ignore[arg-type]

    def on_headers_complete(self) -> None:
        """Start the request, unless its head must be parsed again without the offer."""
        is_upgrade = self.parser.should_upgrade()
        self.offer_ignored = is_upgrade and not self._should_upgrade()
        if not self.offer_ignored:
            super().on_headers_complete()
        if not is_upgrade:
            # uvicorn would add the fields that may follow a chunked body, the trailers, to the
            # headers of the request (RFC 9110, 6.5.1, forbids it).
            self.headers = []

    def on_message_complete(self) -> None:
        """Mark the body as complete, unless the parser only ended the request for an upgrade."""
        if not self.offer_ignored:
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        """Return whether the request is a WebSocket handshake that uvicorn can answer."""
        is_handshake = self.parser.get_method() == WEBSOCKET_METHOD
        return is_handshake and super()._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: a client may offer an upgrade in every request."""

    def _parse_head_again(self) -> None:
        headers = self.headers
        request_line = b"%s %s HTTP/%s" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode("ascii"),
        )
        lines = [name + b": " + value for name, value in headers if name != b"upgrade"]
        self.parser = self._new_parser()
        super().data_received(b"\r\n".join([request_line, *lines, b"", b""]))
        # The application has not started yet; it may read what the client offered.
        self.scope["headers"] = headers

    def _new_parser(self) -> _Parser:
        parser = _Parser(self)
        # As in uvicorn: a request after one with Connection: close is no error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser
