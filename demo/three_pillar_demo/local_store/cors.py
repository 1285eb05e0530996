"""Which web pages may send telemetry to the store: CORS, and the refusal of all other origins.

https://fetch.spec.whatwg.org/#http-cors-protocol defines the headers. Starlette's CORSMiddleware
does not fit: it passes the request of an origin that is not allowed on to the application, which
would store it, and gives such an origin some of the headers.
"""

import re
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from three_pillar_demo.local_store.values import shown_text

LOOPBACK = "loopback"
"""The name of all origins on this machine, of any port."""
ALL = "*"
NONE = "none"
LOOPBACK_ORIGIN = re.compile(r"https?://(([a-z0-9-]+\.)*localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
ORIGIN = re.compile(r"https?://[^\s/?#@,*]+")
PERMISSION_DENIED = 7
"""The code of google.rpc.Status."""
ALLOWED_METHODS = "GET, POST"
DEFAULT_HEADERS = "content-type, content-encoding, traceparent, tracestate"
MAX_AGE_S = "7200"
"""How long a browser may remember the answer to a preflight request; Chromium allows no more."""
PREFLIGHT_VARY = (
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers,"
    " Access-Control-Request-Private-Network"
)
MAX_SHOWN_ORIGIN = 80


def parse_origins(text: str) -> frozenset[str]:
    """Return the origins that the setting ``text`` lists, separated by commas, in lower case.

    Raises:
        ValueError: An element is neither an origin nor ``loopback``, ``*`` or ``none``.
    """
    names = {name.strip().lower().rstrip("/") for name in text.split(",") if name.strip()}
    for name in names - {LOOPBACK, ALL, NONE}:
        if not ORIGIN.fullmatch(name):
            raise ValueError(f"{name!r} is not an origin like https://shop.test:8443")
    if NONE in names and len(names) > 1:
        raise ValueError("none excludes other origins")
    return frozenset(names)


class CorsMiddleware:
    """ASGI middleware that answers preflight requests and refuses origins that are not allowed.

    A browser adds ``Origin`` to each POST of a page, so this also refuses a page that reaches the
    store under a name of its own (DNS rebinding). Other clients send no ``Origin`` and are never
    refused.
    """

    def __init__(self, app: ASGIApp, origins: str, on_refusal: Callable[[str], None]) -> None:
        """Protect ``app``; ``origins`` is a text as for ``parse_origins``.

        ``on_refusal`` is called with the reason of each refusal.
        """
        self.app = app
        self.origins = parse_origins(origins)
        self.on_refusal = on_refusal

    def allows(self, origin: str) -> bool:
        """Return whether pages of ``origin`` may send requests."""
        if ALL in self.origins or origin in self.origins:
            return True
        return LOOPBACK in self.origins and bool(LOOPBACK_ORIGIN.fullmatch(origin))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            await self.app(scope, receive, send)
        elif not self.allows(origin):
            reason = _refusal_reason(origin)
            self.on_refusal(reason)
            await _refusal(reason)(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight_response(origin, headers)(scope, receive, send)
        else:

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    response_headers = MutableHeaders(scope=message)
                    _allow(origin, response_headers)
                    response_headers["access-control-expose-headers"] = "retry-after"
                    response_headers.add_vary_header("Origin")
                await send(message)

            await self.app(scope, receive, send_with_headers)


def _allow(origin: str, headers: MutableHeaders) -> None:
    headers["access-control-allow-origin"] = origin
    # navigator.sendBeacon, with which SDKs for browsers send, always asks for credentials.
    headers["access-control-allow-credentials"] = "true"


def _refusal_reason(origin: str) -> str:
    shown_origin = shown_text(origin)[:MAX_SHOWN_ORIGIN]
    return f"origin {shown_origin} not allowed, add it to STORE_CORS_ORIGINS"


def _refusal(reason: str) -> Response:
    status = {"code": PERMISSION_DENIED, "message": reason}
    return JSONResponse(status, 403, headers={"vary": "Origin"})


def _preflight_response(origin: str, request_headers: Headers) -> Response:
    response = Response(status_code=204)
    headers = response.headers
    _allow(origin, headers)
    headers["access-control-allow-methods"] = ALLOWED_METHODS
    # An exporter can be told to send any header, and the store obeys none that could do harm.
    headers["access-control-allow-headers"] = (
        request_headers.get("access-control-request-headers") or DEFAULT_HEADERS
    )
    headers["access-control-max-age"] = MAX_AGE_S
    headers["vary"] = PREFLIGHT_VARY
    if request_headers.get("access-control-request-private-network") == "true":
        headers["access-control-allow-private-network"] = "true"
    return response
