"""Route templates of plain paths, from a cache.

``match_template`` tries the routes of an application one after the other. For a request to a path
without parameters, like ``/checkout``, the result depends on the method and the path alone, if all
routes are of the classes ``Route`` and ``APIRoute``. Then it is looked up here.
"""

from collections.abc import Sequence

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from .http_methods import KNOWN_METHODS
from .routes import match_template

PLAIN_ROUTES = frozenset({Route, APIRoute})
"""The classes whose routes match by path and method alone.

A subclass, a mount, a host, a WebSocket route or an included router may look at anything, and may
change without a change of the application's list of routes.
"""


class RouteCache:
    """Remembers the templates of requests to one application whose path equals the template.

    So the number of remembered templates is limited by the routes of the application: a client
    cannot make it grow. When the list of routes changes, everything is forgotten.
    """

    def __init__(self) -> None:
        self._routes: list[BaseRoute] = []
        self._all_plain = False
        self.templates: dict[tuple[str, str], str] = {}
        """The remembered templates by method and path."""

    def find_template(self, routes: Sequence[BaseRoute], scope: Scope) -> str | None:
        """Return what ``match_template`` returns for the same arguments."""
        if routes != self._routes:
            self._use(routes)
        if not self._all_plain or scope["type"] != "http" or scope.get("root_path"):
            return match_template(routes, scope)
        key = (scope["method"], scope["path"])
        known_template = self.templates.get(key)
        if known_template is not None:
            return known_template
        template = match_template(routes, scope)
        if template and template == scope["path"] and scope["method"] in KNOWN_METHODS:
            self.templates[key] = template
        return template

    def _use(self, routes: Sequence[BaseRoute]) -> None:
        """Forget all templates, and remember these ``routes`` as those of the application."""
        # First the templates: another thread may be in find_template().
        self.templates = {}
        self._all_plain = all(type(route) in PLAIN_ROUTES for route in routes)
        self._routes = list(routes)
