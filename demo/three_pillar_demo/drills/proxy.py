"""Stands between checkout and payment while a drill wants it: shares calls out, and may drop the trace context."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from three_pillar_demo.stack.components import LOOPBACK

HOP = {"host", "connection", "content-length", "transfer-encoding", "keep-alive"}
"""Headers of one connection: each side has its own."""
CONTEXT = {"traceparent", "tracestate", "baggage"}
TICK = 0.05


class _Server(uvicorn.Server):
    """One that leaves signals to whoever plays."""

    def install_signal_handlers(self) -> None:
        """None."""


@asynccontextmanager
async def between(upstreams: Sequence[str], *, drop_context: bool) -> AsyncIterator[str]:
    """Serve on a free port of loopback until the end of the block; yields the address."""
    turns = cycle(upstreams)
    dropped = HOP | (CONTEXT if drop_context else set())

    async def forward(request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name not in dropped}
        try:
            answer = await http.post(
                f"{next(turns)}{request.url.path}", content=await request.body(), headers=headers
            )
        except httpx2.HTTPError as error:
            return Response(f"no answer behind the proxy: {error}", 502)
        return Response(
            answer.content,
            answer.status_code,
            {n: v for n, v in answer.headers.items() if n not in HOP},
        )

    app = Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])])
    config = uvicorn.Config(
        app, host=LOOPBACK, port=0, log_config=None, access_log=False, lifespan="off", http="h11"
    )
    server = _Server(config)
    async with httpx2.AsyncClient(timeout=30.0, trust_env=False) as http:
        serving = asyncio.create_task(server._serve())  # noqa: SLF001  (`serve` would take the signals)
        try:
            while not server.started:
                await asyncio.sleep(TICK)
                if serving.done():
                    serving.result()
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://{LOOPBACK}:{port}"
        finally:
            server.should_exit = True
            with suppress(asyncio.CancelledError):
                await serving
