"""Reads the bodies of POST requests, within limits, and redirects back to the page."""

from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from three_pillar_demo.web.view_state import ViewState

MAX_FORM_BYTES = 1024
MAX_FORM_FIELDS = 10


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: It has more than ``max_bytes`` (status 413).
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"request body exceeds {max_bytes} bytes")
    return body


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        HTTPException: The body is too large.
        ValueError: It is not ASCII, or has more than ``MAX_FORM_FIELDS`` fields.
    """
    body = await read_body(request, MAX_FORM_BYTES)
    return dict(parse_qsl(body.decode("ascii"), max_num_fields=MAX_FORM_FIELDS))


def redirect_back(request: Request) -> Response:
    """Redirect to the page, in the state that the request's query parameters describe."""
    state = ViewState.parse(request.query_params)
    return RedirectResponse(f"/{state.query()}", 303)
