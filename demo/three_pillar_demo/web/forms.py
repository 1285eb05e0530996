"""Reads the bodies of POST requests, up to a limit, and redirects back to the overview."""

import asyncio
import re
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from three_pillar_demo.web.view_state import ViewState

MAX_FORM_BYTES = 1024
"""The largest body of a form, in bytes."""
BODY_TIMEOUT_S = 10.0
"""How long a body may take to arrive, in seconds."""
PAGE = re.compile(
    r"https?://(?P<host>[^/?#]+)(?P<path>/(?!/)[\w./%-]*)(?P<query>\?[^#]*)?", re.ASCII
)
"""The address of a page to which a form may lead; a browser takes no such path for another host."""
MAX_FORM_FIELDS = 10
"""The largest number of fields in a form."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: The body has more than ``max_bytes`` (status 413), or has not arrived within
            ``BODY_TIMEOUT_S`` (status 408).
    """
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise HTTPException(413, f"request body exceeds {max_bytes} bytes")
    except TimeoutError:
        reason = f"request body did not arrive within {BODY_TIMEOUT_S:g} s"
        raise HTTPException(408, reason, {"Connection": "close"}) from None
    return body


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of the form in the body of a request.

    Raises:
        HTTPException: The body has more than ``MAX_FORM_BYTES`` (status 413), or is too slow (408).
        ValueError: The body is not ASCII, or has more than ``MAX_FORM_FIELDS`` fields.
    """
    body = await read_body(request, MAX_FORM_BYTES)
    return dict(parse_qsl(body.decode("ascii"), max_num_fields=MAX_FORM_FIELDS))


def redirect_to_page(request: Request) -> Response:
    """Return a redirect to the page of ours that has sent a form, else to the overview.

    A browser names that page in the header ``Referer``; the page asks it to by its referrer policy.
    """
    page = PAGE.fullmatch(request.headers.get("referer", ""))
    is_own = page is not None and page["host"].lower() == request.headers["host"].lower()
    if page is None or not is_own or page["path"] == request.url.path:
        return redirect_back(request)
    return RedirectResponse(f"{page['path']}{page['query'] or ''}", 303)


def redirect_back(request: Request, **changes: object) -> Response:
    """Return a redirect to the overview, with the query parameters of the request.

    ``changes`` are changes of the fields of ``ViewState``. A step of the tour gets the focus.
    """
    query = ViewState.parse(request.query_params).query(**changes)
    step = ViewState.parse(request.query_params).tour
    return RedirectResponse(f"/{query}{'#tour' if step else ''}", 303)
