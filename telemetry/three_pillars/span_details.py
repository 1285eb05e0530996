"""The name and the route of a SERVER span, remembered for each route template.

OpenTelemetry's FastAPI instrumentation searches the routes of the application for each request. It
gets one route only, because ``BoundaryMiddleware`` has found the template, so its result depends on
the method and the template alone.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.types import ASGIApp, Scope

from .boundary import ROUTE_TEMPLATE, stand_in_app
from .http_methods import KNOWN_METHODS

Details = tuple[str, dict[str, str]]
"""The name of a span, and attributes of it."""

MAX_REMEMBERED = 1024
"""The number of remembered pairs of method and template."""


def remember_details(chain: ASGIApp) -> None:
    """Let OpenTelemetry's middleware in ``chain`` remember the details of its spans.

    ``chain`` is what the instrumentation makes of an application. If OpenTelemetry's middleware is
    not at its usual place there, nothing is changed.
    """
    middleware = getattr(chain, "app", None)
    if isinstance(middleware, OpenTelemetryMiddleware):
        middleware.default_span_details = _RememberedDetails(middleware.default_span_details)


class _RememberedDetails:
    """Returns what ``span_details``, a function of the instrumentation, returns for a scope."""

    def __init__(self, span_details: Callable[[dict[str, Any]], Details]) -> None:
        self._span_details = span_details
        self._remembered = lru_cache(MAX_REMEMBERED)(self._find)

    def __call__(self, scope: Scope) -> Details:
        method = scope.get("method", "")  # The scope of a WebSocket has none.
        # A client may send any method, of any length, so only the known ones are remembered.
        find = self._remembered if method in KNOWN_METHODS else self._find
        return find(method, scope[ROUTE_TEMPLATE])

    def _find(self, method: str, template: str | None) -> Details:
        return self._span_details({"method": method, "app": stand_in_app(template)})
