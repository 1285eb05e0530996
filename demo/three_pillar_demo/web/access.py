"""Access control of the web UI: refuses unknown Host headers and requests from other origins.

Every response also has headers that let a browser run only code of the web UI itself.
"""

from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The header value that lets a browser load only files of the web UI itself."""
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""The headers that are added to every response."""


@dataclass(frozen=True)
class Refusal:
    """The HTTP status and the reason with which a request is refused."""

    status: int
    reason: str


UNKNOWN_HOST = Refusal(421, "unknown Host header: WEB_HOSTS lists further names of this page")
OWN_SITES = {"", "none", "same-origin"}
"""The values of ``Sec-Fetch-Site`` of requests that no page of another origin makes."""
CROSS_ORIGIN = Refusal(403, "cross-origin request refused")


class AccessMiddleware:
    """ASGI middleware that refuses requests with unknown Host headers or from other origins.

    An unknown Host header may be an attack by DNS rebinding. The middleware also adds
    ``SECURITY_HEADERS`` to every response.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        """Store the application and the Host headers to accept.

        Each of ``hosts`` is a lower-case name with its port: ``page.test:8080``. A name can be
        accepted for a single path only, which then follows the port: ``page.test:8080/alerts``.
        With ``https://`` before a name, a proxy may serve the page under that name by TLS.
        """
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an accepted HTTP request on to the application, or answer it with its ``Refusal``.

        Lifespan events are also passed on. Other protocols, such as WebSocket, are ignored.
        """
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        refusal = self.refusal(str(scope["method"]), str(scope["path"]), Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, send_with_headers)
        else:
            response = PlainTextResponse(f"{refusal.reason}\n", refusal.status)
            await response(scope, receive, send_with_headers)

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Return the refusal of a request, or None if the request is accepted."""
        if not self._is_known_host(path, headers):
            return UNKNOWN_HOST
        if not self._is_from_here(method, headers):
            return CROSS_ORIGIN
        return None

    def _is_known_host(self, path: str, headers: Headers) -> bool:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or "/" in hosts[0]:
            return False
        host = hosts[0].lower()
        return host in self.hosts or host + path in self.hosts

    def _is_from_here(self, method: str, headers: Headers) -> bool:
        """Return True if a page of the web UI, the address bar, a link or a program made it.

        A program, such as curl, sends neither ``Origin`` nor ``Sec-Fetch-Site``. Every current
        browser sends at least one of these headers when a page of another site makes a request.
        """
        site = headers.get("sec-fetch-site", "")
        origin = headers.get("origin", "").lower()
        if origin:
            return self._is_own_origin(origin, headers["host"].lower()) and site in OWN_SITES
        if site in OWN_SITES:
            return True
        # A link on another page may open this page. Nothing else of another page may read it.
        is_navigation = (
            headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        return is_navigation and method in {"GET", "HEAD"}

    def _is_own_origin(self, origin: str, host: str) -> bool:
        """Return True if ``origin`` is that of the page under the name ``host``.

        This process does not speak TLS, so only a listed name can have an origin with ``https``:
        a proxy before the page has received such a request.
        """
        return origin == f"http://{host}" or (origin == f"https://{host}" and origin in self.hosts)
