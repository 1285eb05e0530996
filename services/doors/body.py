"""A limit on the size of a request's body, before anything reads it."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 64 * 1024


class BodyLimit:
    """Refuses a body over ``MAX_BYTES`` with 413, whether it says its length or comes in chunks."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes as the app reads them."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            # Raised while the app reads, so that its own handler answers, with the trace id, inside the span.
            if declared.isdecimal() and int(declared) > MAX_BYTES:
                raise _too_large()
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BYTES:
                raise _too_large()
            return message

        await self.app(scope, receive_within_limit, send)


def _too_large() -> HTTPException:
    # The connection is closed: the rest of the body is still on its way, and nobody will read it.
    return HTTPException(413, f"The body is over {MAX_BYTES} bytes", {"connection": "close"})
