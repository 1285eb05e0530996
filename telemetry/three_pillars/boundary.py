"""The outermost ASGI layer of an instrumented application.

It decides whether a request is recorded; the decision is the same for traces, logs and metrics.
For a recorded request, it passes on a copy of the ASGI scope. The copy has no invalid UTF-8 in
its headers and query string, and no trace context of untrusted callers.
"""

from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace

from fastapi.routing import RouteContext
from opentelemetry.context import Context, attach, detach, get_current
from starlette.types import ASGIApp, Receive, Scope, Send

from .fast_paths import FastPaths
from .route_cache import RouteCache
from .routes import ResolvedRoute, match_template
from .trusted_callers import UNTRUSTED_TRACEPARENTS, TrustedCallers
from .used_headers import header_selector

ORIGINAL_SCOPE = "three_pillars.original_scope"
"""Key in the ASGI scope for the original values of what ``BoundaryMiddleware`` replaces.

These values are stored as a dictionary with the keys ``headers``, ``query_string`` and ``app``.
"""
ROUTE_TEMPLATE = "three_pillars.route_template"
"""Key in the ASGI scope of the route template, like ``/item/{id}``; None if no route matches."""

_EMPTY_CONTEXT = Context()


class BoundaryMiddleware:
    """ASGI middleware that calls ``app``, or ``uninstrumented_app`` if nothing is to be recorded.

    ``uninstrumented_app`` is the same application without telemetry. It serves:

    - GET and HEAD of the ``excluded_paths``,
    - the ASGI lifespan,
    - requests that an outer application already records, because this application is mounted there.
    """

    def __init__(
        self,
        app: ASGIApp,
        uninstrumented_app: ASGIApp,
        excluded_paths: Sequence[str],
        trusted_callers: TrustedCallers,
        fast_paths: FastPaths,
    ) -> None:
        # This attribute must be named ``app``: FastAPI's own telemetry follows the ``app`` of each
        # middleware to the next, and stays inactive if it finds OpenTelemetry's middleware there.
        self.app = app
        self.uninstrumented_app = uninstrumented_app
        self.excluded_paths = frozenset(excluded_paths)
        self.trusted_callers = trusted_callers
        self.find_template = RouteCache().find_template if fast_paths.routes else match_template
        self.select_headers = header_selector(only_used=fast_paths.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call ``app`` if the request is to be recorded, otherwise ``uninstrumented_app``."""
        # Keeps FastAPI's own telemetry inactive in mounted applications that do not install ours.
        scope.setdefault("fastapi.telemetry", None)
        if not self._is_recorded(scope):
            await self.uninstrumented_app(scope, receive, send)
            return
        if not get_current():
            await self.app(self._sanitized_scope(scope), receive, send)
            return
        # A request must begin in an empty context, as most do. uvicorn starts a pipelined request
        # in that of the request before it, whose span would become the parent
        # (Kludex/uvicorn#3158).
        token = attach(_EMPTY_CONTEXT)
        try:
            await self.app(self._sanitized_scope(scope), receive, send)
        finally:
            detach(token)

    def _is_recorded(self, scope: Scope) -> bool:
        if scope["type"] == "lifespan" or ORIGINAL_SCOPE in scope:
            return False
        if scope.get("method") not in {"GET", "HEAD"}:
            return True
        root_path = scope.get("root_path", "").rstrip("/")
        return scope.get("path", "").removeprefix(root_path) not in self.excluded_paths

    def _sanitized_scope(self, scope: Scope) -> Scope:
        """Return a copy of the ASGI ``scope`` for OpenTelemetry's FastAPI instrumentation.

        Three entries of the copy differ; their original values are under ``ORIGINAL_SCOPE``:

        - ``headers`` are those that the instrumentation reads. They are valid UTF-8, because it
          fails on other bytes (contrib#1478). The trace context headers of untrusted callers are
          removed.
        - ``query_string`` is valid UTF-8.
        - ``app`` is the result of ``stand_in_app``.
        """
        used_headers = self.select_headers(scope["headers"])
        utf8_headers = [(_to_utf8(name), _to_utf8(value)) for name, value in used_headers]
        headers, untrusted_traceparents = self.trusted_callers.split_headers(scope, utf8_headers)
        app = scope["app"]
        template = self.find_template(app.routes, scope)
        return {
            **scope,
            "headers": headers,
            "query_string": _to_utf8(scope["query_string"]),
            "app": stand_in_app(template),
            ORIGINAL_SCOPE: {
                "headers": scope["headers"],
                "query_string": scope["query_string"],
                "app": app,
            },
            UNTRUSTED_TRACEPARENTS: untrusted_traceparents,
            ROUTE_TEMPLATE: template,
        }


# An application has few templates, so nearly every call is answered from the cache.
@lru_cache(maxsize=1024)
def stand_in_app(template: str | None) -> SimpleNamespace:
    """Return a stand-in for the application, whose ``routes`` hold one route with ``template``.

    If ``template`` is None, because no route matches the request, ``routes`` is empty. ``routes``
    is all that OpenTelemetry's FastAPI instrumentation reads of an application.
    """
    # The route has the class in which the instrumentation would wrap it for each request.
    return SimpleNamespace(routes=[RouteContext(ResolvedRoute(template))] if template else [])


def restore_headers(scope: Scope) -> None:
    """Replace the headers in the sanitized ``scope`` by all headers of the request, as UTF-8.

    The handler that answers a crash is outside of the request recorder, so it gets this scope, and
    may choose the format of the answer by the header ``accept``.
    """
    original_headers = scope[ORIGINAL_SCOPE]["headers"]
    scope["headers"] = [(_to_utf8(name), _to_utf8(value)) for name, value in original_headers]


def _to_utf8(raw: bytes) -> bytes:
    r"""Return ``raw`` with each byte that is not UTF-8 escaped, for example as ``\xff``."""
    if raw.isascii():
        return raw
    return raw.decode("utf-8", "backslashreplace").encode()
