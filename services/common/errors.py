"""The application and the JSON responses that both services share.

Each response has the trace id of its request, and none contains internal details of an error.
"""

from collections.abc import Callable, Mapping, Sequence
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

BAD_REQUEST = 400
UNPROCESSABLE = 422

MAX_LOCATION_LENGTH = 80
"""The maximum length, in characters, of an invalid value's location in a response."""

JSON_MESSAGES = {
    "too_short": "Input should have at least {min_length} item",
    "too_long": "Input should have at most {max_length} items",
    "model_attributes_type": "Input should be an object",
    "decimal_type": "Input should be a number",
}
"""Messages, by pydantic's error type, that replace pydantic's own messages.

Pydantic's own messages for these errors name Python's types.
"""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(title: str, lifespan: Lifespan | None = None) -> FastAPI:
    """Return an application with ``GET /healthz`` and with JSON responses for errors.

    The errors are invalid requests, HTTP errors such as 404, and unhandled exceptions. A service
    adds its own routes.
    """
    # No documentation pages, because they load scripts from a CDN; no redirects of slashes,
    # because they would be answered without a trace id.
    app = FastAPI(
        title=title, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan
    )
    app.add_middleware(BodyLimitMiddleware)
    # The handlers are coroutines. A plain function would run in a thread, and the fields that the
    # function binds to the log line of the request would be lost.
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_exception_handler(Exception, _handle_crash)

    @app.get("/healthz")
    @app.head("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def json_response(
    status: int, outcome: str, headers: Mapping[str, str] | None = None, /, **fields: object
) -> JSONResponse:
    """Return a JSON response with ``fields``, the ``outcome`` and the trace id of the request.

    The outcome is also bound to the log line of the request.
    """
    structlog.contextvars.bind_contextvars(outcome=outcome)
    return JSONResponse({**fields, "outcome": outcome, "trace_id": trace_id()}, status, headers)


async def _handle_invalid_request(_request: Request, error: Any) -> JSONResponse:  # noqa: ANN401  (Starlette types it as any exception)
    """Return a 422 response with the first validation error, or a 400 if the body is not JSON."""
    problems = _innermost(error.errors())
    problem = problems[0]
    location = _location(problem["loc"])
    if problem["type"] == "json_invalid":
        status = BAD_REQUEST
        location = ""
        message = f"The body is not JSON: {problem['ctx']['error']}"
    else:
        status = UNPROCESSABLE
        message = _message(problem, location)
    # The log gets no location, which may be the client's own text.
    structlog.contextvars.bind_contextvars(reason=message)
    detail = f"{location}: {message}" if location else message
    others = len(problems) - 1
    if others:
        detail = f"{detail} (and {others} more)"
    return json_response(status, "invalid", detail=detail)


def _innermost(problems: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the validation errors that do not just follow from another error.

    An error of a list or an object follows from an error inside that list or object. For example,
    pydantic also reports a list with invalid items as too short, although only the items are the
    client's mistake.
    """
    locations = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if not any(_is_inside(location, problem["loc"]) for location in locations)
    ]


def _is_inside(location: Sequence[object], outer: Sequence[object]) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def _location(parts: Sequence[str | int]) -> str:
    """Return the location of a validation error as text, like ``items[0].sku``.

    The first of ``parts`` is left out because it is always ``body``. The other parts may contain
    any text from the client, so the result is escaped to ASCII and cut to ``MAX_LOCATION_LENGTH``.
    """
    location = ""
    for part in parts[1:]:
        location += f"[{part}]" if isinstance(part, int) else f".{part}"
    return ascii(location.lstrip("."))[1:-1][:MAX_LOCATION_LENGTH]


def _message(problem: dict[str, Any], location: str) -> str:
    """Return a validation error's message, without the value, which may be secret or long."""
    kind = problem["type"]
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if not location:
        return "The body must be a JSON object, sent with Content-Type: application/json"
    if kind in JSON_MESSAGES:
        return JSON_MESSAGES[kind].format(**problem.get("ctx", {}))
    return str(problem["msg"])


async def _handle_http_exception(_request: Request, error: Any) -> JSONResponse:  # noqa: ANN401  (as above)
    return json_response(error.status_code, "invalid", error.headers, detail=error.detail)


async def _handle_crash(_request: Request, _error: Exception) -> JSONResponse:
    # uvicorn closes the connection after a crash. Without the header the client would send its
    # next request into it.
    return json_response(500, "crashed", {"connection": "close"}, detail="Internal error")
