"""Route templates, such as ``/item/{number}``, including the prefixes of mounts and routers.

The template is resolved once for each request, and names the route in traces, logs and metrics.
"""

from collections.abc import Sequence

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Host, Match, Mount
from starlette.types import Scope


class ResolvedRoute(BaseRoute):
    """A route that matches every request, because ``match_template`` has already resolved its path.

    OpenTelemetry's FastAPI instrumentation receives this route in place of the application's
    routes, because the instrumentation's own search stops at a mount (contrib#2891).
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def matches(self, _scope: Scope) -> tuple[Match, Scope]:
        """Return a full match for every request."""
        return Match.FULL, {}


def match_template(routes: Sequence[BaseRoute], scope: Scope) -> str | None:
    """Return the template of the first route that matches the path and method of ``scope``.

    The template includes the prefixes of routers and mounts. If no route matches both path and
    method, return the template of the first route that matches the path. If no route matches the
    path, return None.
    """
    partial_match = None
    for route in iter_route_contexts(routes):
        try:
            match, child_scope = route.matches(scope)
        except Exception:  # noqa: BLE001
            # The path matches and a custom convertor failed on it. The router will fail in the
            # same way, and that crash is recorded under this route.
            return route.path
        if match is Match.NONE:
            continue
        template = route.path
        if isinstance(route.original_route, Mount | Host):
            inner_template = match_template(route.routes or (), {**scope, **child_scope})
            template = (route.path or "") + (inner_template or "/{path}")
        if match is Match.FULL:
            return template
        partial_match = partial_match or template
    return partial_match
