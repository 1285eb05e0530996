"""Answers: every one carries ``trace_id``, an error says what to do, and nothing of the internals is shown."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from three_pillars import trace_id
from three_pillars.limits import BodyLimitMiddleware

WORDS = {
    "too_short": "Input should have at least {min_length} item",
    "too_long": "Input should have at most {max_length} items",
    "model_attributes_type": "Input should be an object",
    "decimal_type": "Input should be a number",
}
"""Where pydantic speaks Python to somebody who sent JSON."""


def create_app(
    title: str, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None
) -> FastAPI:
    """An app that answers ``/healthz``, bad input, unknown paths and crashes; a service adds its own doors.

    The handlers are coroutines: a plain function would run in a thread, and what it binds to the canonical line be lost.
    """
    # No pages: they load scripts from a CDN. No redirects: they would answer without a trace id.
    app = FastAPI(
        title=title, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan
    )
    app.add_middleware(BodyLimitMiddleware)
    app.add_exception_handler(RequestValidationError, _bad_input)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _crashed)

    @app.get("/healthz")
    @app.head("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def answer(
    code: int, outcome: str, headers: Mapping[str, str] | None = None, /, **fields: object
) -> JSONResponse:
    """An answer with its outcome, which the request's canonical line repeats, and its trace id."""
    structlog.contextvars.bind_contextvars(outcome=outcome)
    return JSONResponse({**fields, "outcome": outcome, "trace_id": trace_id()}, code, headers)


async def _bad_input(_request: Request, error: Any) -> JSONResponse:  # noqa: ANN401  (Starlette types it as any exception)
    places = [each["loc"] for each in error.errors()]
    # A list whose items are wrong is also called too short: only the innermost mistake is the customer's.
    inner = [
        each
        for each in error.errors()
        if not any(at[:-1][: len(each["loc"])] == each["loc"] for at in places)
    ]
    first, more = inner[0], f" (and {len(inner) - 1} more)" if inner[1:] else ""
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"][1:]
    ).lstrip(".")
    what = (
        WORDS[first["type"]].format(**first.get("ctx", {}))
        if first["type"] in WORDS
        else first["msg"]
    )
    if first["type"] == "json_invalid":
        place, what = "", f"The body is not JSON: {first['ctx']['error']}"
    elif first["type"] == "value_error":
        what = str(first["ctx"]["error"])
    elif not place:
        what = "The body must be a JSON object, sent with Content-Type: application/json"
    # Never the value: it may be a secret, or a megabyte. The place may be the customer's own word: cut, and not in the log.
    structlog.contextvars.bind_contextvars(reason=what)
    status = 400 if first["type"] == "json_invalid" else 422
    return answer(
        status,
        "invalid",
        detail=f"{ascii(place)[1:-1][:80]}: {what}{more}" if place else what + more,
    )


async def _refused(_request: Request, error: Any) -> JSONResponse:  # noqa: ANN401  (as above)
    return answer(error.status_code, "invalid", error.headers, detail=error.detail)


async def _crashed(_request: Request, _error: Exception) -> JSONResponse:
    # uvicorn hangs up after a crash; without the header the caller would send its next request into that.
    return answer(500, "crashed", {"connection": "close"}, detail="Internal error")
