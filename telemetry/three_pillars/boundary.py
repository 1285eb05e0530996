"""The outermost ASGI layer of an instrumented application.

It decides once, for all three pillars, whether a request is recorded, and hands the instrumentation
only what it can process and may trust.
"""

from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace

from opentelemetry.context import Context, attach, detach
from starlette.types import ASGIApp, Receive, Scope, Send

from .routes import ResolvedRoute, match_template
from .trusted_callers import UNTRUSTED_TRACEPARENTS, TrustedCallers

ORIGINAL_SCOPE = "three_pillars.original_scope"
"""Scope key: the entries that ``_sanitized_scope`` replaced, by name, as the server sent them."""
ROUTE_TEMPLATE = "three_pillars.route_template"
"""Scope key: the template of the requested route, or None if no route matches."""

_EMPTY_CONTEXT = Context()


class BoundaryMiddleware:
    """Calls ``app``, or ``uninstrumented_app`` for a request that is not to be recorded.

    ``uninstrumented_app`` is the same application without telemetry. It serves a GET or HEAD of
    ``excluded_paths``, the lifespan, and a request that an outer application already records.
    The instrumented application has to be named ``app``: FastAPI's own telemetry follows these
    attributes to find OpenTelemetry's instrumentation, and then stays inactive.
    """

    def __init__(
        self,
        app: ASGIApp,
        uninstrumented_app: ASGIApp,
        excluded_paths: Sequence[str],
        trusted_callers: TrustedCallers,
    ) -> None:
        self.app = app
        self.uninstrumented_app = uninstrumented_app
        self.excluded_paths = frozenset(excluded_paths)
        self.trusted_callers = trusted_callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call one of the two applications, the instrumented one in an empty context."""
        # Keeps FastAPI's own telemetry inactive in mounted applications that do not install ours.
        scope.setdefault("fastapi.telemetry", None)
        if not self._is_recorded(scope):
            await self.uninstrumented_app(scope, receive, send)
            return
        # uvicorn starts a pipelined request in the context of the request before it, whose span
        # would become the parent: Kludex/uvicorn#3158.
        token = attach(_EMPTY_CONTEXT)
        try:
            await self.app(_sanitized_scope(scope, self.trusted_callers), receive, send)
        finally:
            detach(token)

    def _is_recorded(self, scope: Scope) -> bool:
        if scope["type"] == "lifespan" or ORIGINAL_SCOPE in scope:
            return False
        if scope.get("method") not in {"GET", "HEAD"}:
            return True
        root_path = scope.get("root_path", "").rstrip("/")
        return scope.get("path", "").removeprefix(root_path) not in self.excluded_paths


def _sanitized_scope(scope: Scope, trusted_callers: TrustedCallers) -> Scope:
    """Return a copy of ``scope`` for the instrumentation.

    Its headers and its query string are valid UTF-8, on whose absence the instrumentation fails
    (contrib#1478); the trace context of untrusted callers is removed; and its application has one
    route, the one that the request resolves to. ``ORIGINAL_SCOPE`` holds what was replaced.
    """
    utf8_headers = [(_to_utf8(name), _to_utf8(value)) for name, value in scope["headers"]]
    headers, untrusted_traceparents = trusted_callers.split_headers(scope, utf8_headers)
    app = scope["app"]
    template = match_template(app.routes, scope)
    return {
        **scope,
        "headers": headers,
        "query_string": _to_utf8(scope["query_string"]),
        "app": _resolved_app(template),
        ORIGINAL_SCOPE: {
            "headers": scope["headers"],
            "query_string": scope["query_string"],
            "app": app,
        },
        UNTRUSTED_TRACEPARENTS: untrusted_traceparents,
        ROUTE_TEMPLATE: template,
    }


@lru_cache(maxsize=1024)
def _resolved_app(template: str | None) -> SimpleNamespace:
    """Return what the FastAPI instrumentation reads of an application: one route, or none.

    The result is cached because there are only as many templates as the application has routes.
    """
    return SimpleNamespace(routes=[ResolvedRoute(template)] if template else [])


def _to_utf8(raw: bytes) -> bytes:
    r"""Return ``raw`` with each byte that is not UTF-8 escaped, for example as ``\xff``."""
    if raw.isascii():
        return raw
    return raw.decode("utf-8", "backslashreplace").encode()
