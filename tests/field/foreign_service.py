"""A service with routes whose responses end in different ways; ``foreign_process.py`` runs it.

Usage: script.py PORT [VARIANT]. With the variant "middleware", Starlette's ``BaseHTTPMiddleware``
runs the routes in a task of their own. A route "waits at a gate" until ``GET /open/NAME`` opens
that gate.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import structlog
import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI
from opentelemetry import metrics, trace
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

import three_pillars

app = FastAPI()
sub_app = FastAPI()
gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


async def wait_at_gate(name: str) -> None:
    """Wait until ``GET /open/NAME`` has opened the gate ``name``."""
    await gates[name].wait()


async def crash() -> None:
    """Raise an exception whose text UTF-8 cannot encode."""
    raise ValueError("boom \ud800")


async def stream_with_gate(name: str) -> AsyncIterator[bytes]:
    """Yield two server-sent events, the second one after the gate ``name`` was opened."""
    yield b"data: first\n\n"
    await wait_at_gate(name)
    yield b"data: last\n\n"


async def endless_stream() -> AsyncIterator[bytes]:
    """Yield a server-sent event every 20 ms, without an end."""
    while True:
        yield b"data: more\n\n"
        await asyncio.sleep(0.02)


async def crashing_stream() -> AsyncIterator[bytes]:
    """Yield one server-sent event and raise an exception."""
    yield b"data: first\n\n"
    await crash()


async def dependency_with_gate() -> AsyncIterator[None]:
    """Wait at the gate ``yield`` after the response has been sent."""
    yield
    await wait_at_gate("yield")


async def crashing_dependency() -> AsyncIterator[None]:
    """Raise an exception after the response has been sent."""
    yield
    await crash()


@app.get("/open/{name}")
async def open_gate(name: str) -> None:
    """Open the gate ``name``."""
    gates[name].set()


@app.post("/heavy")
async def heavy(body: dict[str, str]) -> dict[str, str]:
    """Require a JSON object as the request body, and return it."""
    return body


@app.get("/background")
async def background(tasks: BackgroundTasks) -> None:
    """Respond, and wait at the gate ``background`` in a background task."""
    tasks.add_task(wait_at_gate, "background")


@app.get("/background-crash")
async def background_crash(tasks: BackgroundTasks) -> None:
    """Respond, and raise an exception in a background task."""
    tasks.add_task(crash)


@app.get("/stream/{name}")
async def stream(name: str) -> Response:
    """Stream two events, the second one after the gate ``name`` was opened."""
    return StreamingResponse(stream_with_gate(name), media_type="text/event-stream")


@app.get("/endless")
async def endless() -> Response:
    """Stream events without an end."""
    return StreamingResponse(endless_stream(), media_type="text/event-stream")


@app.get("/stream-crash")
async def stream_crash() -> Response:
    """Stream one event and raise an exception."""
    return StreamingResponse(crashing_stream())


@app.get("/yield", dependencies=[Depends(dependency_with_gate)])
async def with_dependency() -> str:
    """Respond, and wait at the gate ``yield`` in the exit code of a dependency."""
    return "ok"


@app.get("/yield-crash", dependencies=[Depends(crashing_dependency)])
async def with_crashing_dependency() -> str:
    """Respond, and raise an exception in the exit code of a dependency."""
    return "ok"


@app.get("/crash")
async def crash_in_handler() -> None:
    """Raise an exception in the route handler."""
    await crash()


@app.get("/file")
@app.head("/head")
async def file() -> Response:
    """Respond with a file."""
    return FileResponse(__file__)


@app.get("/nothing")
@app.get("/empty")
async def empty() -> Response:
    """Respond without a body."""
    return Response(status_code=204)


@app.get("/odd-span")
@app.get("/odd-link")
async def odd_span() -> None:
    """Put lone surrogates into the attributes of a span, its events and its links."""
    tracer = trace.get_tracer("foreign")
    with tracer.start_as_current_span("odd", attributes={"half": "\ud800"}) as span:
        span.record_exception(ValueError("\udfff"))
        span.add_event("half", {"half": ["\ud800"]})
        span.add_link(span.get_span_context(), {"half": "\ud800"})


@app.get("/odd-status")
async def odd_status() -> None:
    """Put a lone surrogate into the status description of a span."""
    with suppress(ValueError), trace.get_tracer("foreign").start_as_current_span("odd"):
        raise ValueError("half \ud800")


@app.get("/odd-event")
async def odd_event() -> None:
    """Put a lone surrogate into the name of an event."""
    trace.get_current_span().add_event("half \ud800")


@app.get("/odd-metric")
async def odd_metric() -> None:
    """Put a lone surrogate into the label of a metric."""
    metrics.get_meter("foreign").create_counter("odd").add(1, {"half": "\ud800"})


@app.get("/odd-line")
async def odd_line() -> None:
    """Log values that neither JSON nor OTLP can carry."""
    structlog.get_logger().error(ValueError("\ud800"), half="\ud800", odd={1, 2}, nan=float("nan"))


@sub_app.get("/item/{number}")
async def item(number: str) -> dict[str, str]:  # noqa: ARG001  (FastAPI passes it)
    """Return the trace id of the request."""
    return {"trace_id": three_pillars.trace_id()}


async def pass_through(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Call the application unchanged; ``BaseHTTPMiddleware`` does so in a task of its own."""
    return await call_next(request)


def main() -> None:
    """Install the library and run the server on the port of the command line."""
    app.mount("/sub", sub_app)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent))
    if "middleware" in sys.argv:
        app.middleware("http")(pass_through)
    three_pillars.install(app, three_pillars.ServiceResource("foreign"))
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
