"""A reverse proxy between checkout and payment.

The proxy forwards calls to one or two payment processes in turn, and can drop the trace context.
"""

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

from three_pillar_demo.stack.plain_http import NO_CERTIFICATES
from three_pillar_demo.stack.ports import LOOPBACK

CONNECTION_HEADERS = {
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "http2-settings",
}
"""The headers that are not forwarded, because they describe one connection and not the request."""
TRACE_CONTEXT_HEADERS = {"traceparent", "tracestate", "baggage"}
"""The headers that the proxy drops in a drill that sets ``drop_context``."""
FORWARD_TIMEOUT_S = 30.0
"""Seconds that payment has to answer a forwarded request."""
POLL_INTERVAL_S = 0.05
"""Seconds between two checks of whether the proxy has started."""


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signal handling to the process that runs the drill."""

    def install_signal_handlers(self) -> None:
        """Do nothing; the original method replaces the signal handlers of the process."""


@asynccontextmanager
async def forwarding(upstreams: Sequence[str], *, drop_context: bool) -> AsyncIterator[str]:
    """Run the proxy on a free loopback port until the end of the block, and yield its base URL.

    The proxy forwards POST requests to the base URLs ``upstreams`` in turn. With ``drop_context``,
    it leaves out ``TRACE_CONTEXT_HEADERS``.
    """
    async with httpx2.AsyncClient(
        timeout=FORWARD_TIMEOUT_S, trust_env=False, verify=NO_CERTIFICATES
    ) as http:
        server = _Server(
            uvicorn.Config(
                _application(http, upstreams, drop_context=drop_context),
                host=LOOPBACK,
                port=0,
                log_config=None,
                access_log=False,
                lifespan="off",
                http="h11",
            )
        )
        # `serve` would install signal handlers.
        serving = asyncio.create_task(server._serve())  # noqa: SLF001
        try:
            while not server.started:
                await asyncio.sleep(POLL_INTERVAL_S)
                if serving.done():
                    serving.result()
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://{LOOPBACK}:{port}"
        finally:
            server.should_exit = True
            with suppress(asyncio.CancelledError):
                await serving


def _application(
    http: httpx2.AsyncClient, upstreams: Sequence[str], *, drop_context: bool
) -> Starlette:
    """Return the proxy as an ASGI application; each request goes to the next of ``upstreams``."""
    next_upstream = cycle(upstreams)
    dropped = CONNECTION_HEADERS | (TRACE_CONTEXT_HEADERS if drop_context else set())

    async def forward(request: Request) -> Response:
        url = f"{next(next_upstream)}{request.url.path}"
        headers = {name: value for name, value in request.headers.items() if name not in dropped}
        try:
            response = await http.post(url, content=await request.body(), headers=headers)
        except httpx2.HTTPError as error:
            return Response(f"no response from upstream: {error}", 502)
        response_headers = {
            name: value
            for name, value in response.headers.items()
            if name not in CONNECTION_HEADERS
        }
        return Response(response.content, response.status_code, response_headers)

    return Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])])
