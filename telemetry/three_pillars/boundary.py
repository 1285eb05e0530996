"""The outermost ASGI layer: who is quiet is so in all three pillars; OpenTelemetry sees what it can stand and may believe."""

from collections.abc import Sequence
from types import SimpleNamespace

from opentelemetry.context import Context, attach, detach
from starlette.types import ASGIApp, Receive, Scope, Send

from .routes import ResolvedRoute, match_template
from .trusted_callers import OUTSIDE, Trust

ORIGINALS, ROUTE = "telemetry.originals", "telemetry.route"
"""In the scope of a request that is told of: what was mended in it, as it came; and the template of its path, or None."""


class Edge:
    """Leads a request to ``app``, which tells of it, or to ``plain``, the same app without telemetry.

    FastAPI's own telemetry looks along ``app`` for somebody who does its work, and stands down.
    """

    def __init__(self, app: ASGIApp, plain: ASGIApp, quiet: Sequence[str], trust: Trust) -> None:
        self.app, self.plain, self.quiet, self.trust = app, plain, frozenset(quiet), trust

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; a mounted app finds in its scope that it is told of already."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", "").rstrip("/"))
        quiet = path in self.quiet and scope.get("method") in {"GET", "HEAD"}
        told = ORIGINALS in scope
        scope.setdefault("fastapi.telemetry", None)  # for mounted apps without ours
        if quiet or told or scope["type"] == "lifespan":
            await self.plain(scope, receive, send)
            return
        # uvicorn starts a pipelined request inside the one before it, whose span is then the current one: Kludex/uvicorn#3158
        token = attach(Context())
        try:
            await self.app(_mended(scope, self.trust), receive, send)
        finally:
            detach(token)


def _mended(scope: Scope, trust: Trust) -> Scope:
    """Spell out what is not UTF-8, on which the instrumentation fails (contrib#1478); trust nobody outside; find the route."""
    headers, outside = trust.of(
        scope, [(_utf8(name), _utf8(value)) for name, value in scope["headers"]]
    )
    route = match_template(scope["app"].routes, scope)
    app = SimpleNamespace(routes=[ResolvedRoute(route)] if route else [])
    mended = {"headers": headers, "query_string": _utf8(scope["query_string"]), "app": app}
    return {
        **scope,
        **mended,
        ORIGINALS: {name: scope[name] for name in mended},
        OUTSIDE: outside,
        ROUTE: route,
    }


def _utf8(raw: bytes) -> bytes:
    return raw if raw.isascii() else raw.decode("utf-8", "backslashreplace").encode()
