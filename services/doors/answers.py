"""Answers: every one carries ``trace_id``, an error says what to do, and nothing of the internals is shown."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from telemetry import trace_id

NOT_JSON, WRONG_SHAPE = 400, 422


def answer(code: int, outcome: str, headers: Mapping[str, str] | None = None, /, **fields: object) -> JSONResponse:
    """An answer with its outcome, which the request's canonical line repeats, and its trace id."""
    structlog.contextvars.bind_contextvars(outcome=outcome)
    return JSONResponse({**fields, "outcome": outcome, "trace_id": trace_id()}, code, headers)


def install(app: FastAPI) -> None:
    """Make ``app`` answer bad input, unknown paths and crashes in the same shape as everything else.

    The handlers are coroutines: a plain function would run in a thread, and what it binds to the canonical line be lost.
    """
    app.add_exception_handler(RequestValidationError, _bad_input)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _crashed)


async def _bad_input(_request: Request, error: Any) -> JSONResponse:  # noqa: ANN401  (Starlette types it as any exception)
    first, *rest = error.errors()
    more = f" (and {len(rest)} more)" if rest else ""
    structlog.contextvars.bind_contextvars(reason=first["msg"])  # not where: that may be the customer's own word
    status = NOT_JSON if first["type"] == "json_invalid" else WRONG_SHAPE
    return answer(status, "invalid", detail=_reason(first) + more)


def _reason(error: Mapping[str, Any]) -> str:
    """One sentence: where, and what is allowed there. Never the value: it may be a secret, or a megabyte."""
    if error["type"] == "json_invalid":
        return f"The body is not JSON: {error['ctx']['error']}"
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"][1:]).lstrip(".")
    if not place:
        return "The body must be a JSON object, sent with Content-Type: application/json"
    return f"{place}: {error['msg']}"


async def _refused(_request: Request, error: Any) -> JSONResponse:  # noqa: ANN401  (as above)
    return answer(error.status_code, "invalid", error.headers, detail=error.detail)


async def _crashed(_request: Request, _error: Exception) -> JSONResponse:
    # uvicorn hangs up after a crash; without the header the caller would send its next request into that.
    return answer(500, "crashed", {"connection": "close"}, detail="Internal error")
