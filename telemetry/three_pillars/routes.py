"""Which route a request asks for: found once, for the names of all three pillars."""

from collections.abc import Sequence

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Host, Match, Mount
from starlette.types import Scope


class Found(BaseRoute):
    """A route that need not be looked for: the instrumentation's own search ends at a mount (contrib#2891)."""

    def __init__(self, path: str) -> None:
        self.path = path

    def matches(self, _scope: Scope) -> tuple[Match, Scope]:
        """Say yes."""
        return Match.FULL, {}


def template(routes: Sequence[BaseRoute], scope: Scope) -> str | None:
    """The template of the path that ``scope`` asks for, with the prefixes of routers and mounts; None if there is no route."""
    partial = None
    for route in iter_route_contexts(routes):
        try:
            match, child = route.matches(scope)
        except Exception:  # noqa: BLE001  (somebody's convertor, of a path that fits; the router meets it too, and that is told of)
            return route.path
        found = route.path
        if match is not Match.NONE and isinstance(route.original_route, Mount | Host):
            found = (route.path or "") + (
                template(route.routes or (), {**scope, **child}) or "/{path}"
            )
        if match is Match.FULL:
            return found
        partial = partial or (found if match is Match.PARTIAL else None)
    return partial
