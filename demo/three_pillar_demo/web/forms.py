"""Reads the bodies of POST requests, up to a limit, and redirects back to the overview."""

from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from three_pillar_demo.web.view_state import ViewState

MAX_FORM_BYTES = 1024
"""The largest body of a form, in bytes."""
MAX_FORM_FIELDS = 10
"""The largest number of fields in a form."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: The body has more than ``max_bytes`` (status 413).
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"request body exceeds {max_bytes} bytes")
    return body


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of the form in the body of a request.

    Raises:
        HTTPException: The body has more than ``MAX_FORM_BYTES`` (status 413).
        ValueError: The body is not ASCII, or has more than ``MAX_FORM_FIELDS`` fields.
    """
    body = await read_body(request, MAX_FORM_BYTES)
    return dict(parse_qsl(body.decode("ascii"), max_num_fields=MAX_FORM_FIELDS))


def redirect_back(request: Request) -> Response:
    """Return a redirect to the overview, with the query parameters of the request."""
    state = ViewState.parse(request.query_params)
    return RedirectResponse(f"/{state.query()}", 303)
