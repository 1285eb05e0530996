"""Limits on a request's body, before anything reads it: its size, and the time it takes to arrive."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 64 * 1024
BODY_SECONDS = 10.0


class BodyLimit:
    """Refuses a body over ``MAX_BYTES`` with 413, whether it says its length or comes in chunks; with 408 one that is slow."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes as the app reads them."""
        length = dict(scope.get("headers", ())).get(b"content-length", b"")[:20]
        declared, received, more = int(length) if length.isdigit() else 0, 0, True
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS

        async def receive_within_limit() -> Message:
            nonlocal received, more
            if not more:  # whoever still waits, waits for the client to hang up
                return await receive()
            message: Message = {}
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive() if declared <= MAX_BYTES else {}
            except TimeoutError:
                raise HTTPException(
                    408, f"The body was not here after {BODY_SECONDS:g} s", {"connection": "close"}
                ) from None
            received, more = (
                received + len(message.get("body", b"")),
                message.get("more_body", False),
            )
            if max(declared, received) > MAX_BYTES:
                # Raised while the app reads, so that its own handler answers, with the trace id, inside the span. The
                # connection is closed: the rest of the body is still on its way, and nobody will read it.
                raise HTTPException(
                    413, f"The body is over {MAX_BYTES} bytes", {"connection": "close"}
                )
            return message

        await self.app(scope, receive_within_limit, send)
