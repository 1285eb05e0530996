"""Who may ask: this page's own visitors, by its own names. What leaves carries a policy that runs nobody else's code."""

from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware: refuses foreign names (DNS rebinding) and foreign pages, and puts ``HEADERS`` on every answer."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        """``hosts`` are the names with their ports, in lower case, by which this page is asked; with a path, for that alone."""
        self.app, self.hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421 or 403, or let the request in; anything that is not HTTP has no business here but the lifespan."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        reason = self.refusal(str(scope["method"]), str(scope["path"]), Headers(scope=scope))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        status = 421 if "Host" in reason else 403
        answer: Any = PlainTextResponse(f"{reason}\n", status) if reason else self.app
        await answer(scope, receive, guarded)

    def refusal(self, method: str, path: str, headers: Headers) -> str:
        """Why a request with such headers is not let in; empty when it is.

        One without ``Origin`` and ``Sec-Fetch-Site`` comes from no browser of today, so no page of somebody else's sent it.
        """
        host, origin, site = (
            headers.get(name, "") for name in ("host", "origin", "sec-fetch-site")
        )
        if (
            len(headers.getlist("host")) != 1
            or "/" in host
            or self.hosts.isdisjoint({host.lower(), host.lower() + path})
        ):
            return "This Host is not a name of this page; WEB_HOSTS can add one."
        if origin:
            return (
                ""
                if origin.lower() == f"http://{host.lower()}"
                else "This page takes nothing from another one."
            )
        if site in {"", "none", "same-origin"}:
            return ""
        # A link that somebody sent opens; nothing else of a foreign page may even look.
        opens = (
            headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        return (
            ""
            if method in {"GET", "HEAD"} and opens
            else "This page takes nothing from another one."
        )
