"""Gives each service a CSS class of a fixed palette, which sets the colour of the service.

The name of a service is never a class itself: it could be that of a class with another meaning.
"""

import zlib
from collections.abc import Iterable, Mapping

from jinja2 import pass_context
from jinja2.runtime import Context

from three_pillar_demo.trace_view.view import TraceView

SHOP_CLASSES = {"checkout": "service-0", "payment": "service-1"}
"""The classes that belong to one service each, on every page."""
OTHER_CLASSES = ("service-2", "service-3", "service-4", "service-5", "service-6", "service-7")
"""The classes that the other services share."""


def service_class(name: str) -> str:
    """Return the CSS class of a service, which is the same on every page that lists it."""
    if name in SHOP_CLASSES:
        return SHOP_CLASSES[name]
    return OTHER_CLASSES[_preferred_index(name)]


@pass_context
def class_on_page(context: Context, name: str) -> str:
    """Return the CSS class of a service on the page that is rendered: a filter of Jinja.

    The variable ``service_classes`` of the page, if it has one, has the classes by name.
    """
    classes: Mapping[str, str] = context.get("service_classes") or {}
    return classes.get(name) or service_class(name)


def distinct_service_classes(names: Iterable[str]) -> dict[str, str]:
    """Return the CSS class of each service, by name, for a page that must tell them apart.

    As long as there are at most as many services as classes, no two have the same class. Each
    service has its ``service_class`` if no other service has taken that.
    """
    classes: dict[str, str] = {}
    for name in sorted(set(names)):
        start = _preferred_index(name)
        candidates = [service_class(name), *OTHER_CLASSES[start:], *OTHER_CLASSES[:start]]
        free = [candidate for candidate in candidates if candidate not in classes.values()]
        classes[name] = candidates[0] if name in SHOP_CLASSES else (free or candidates)[0]
    return classes


def trace_service_classes(view: TraceView) -> dict[str, str]:
    """Return the CSS class of each service of a trace, by the name of the service."""
    names = {span.service for span in view.spans}
    names |= {record.service for record in view.logs}
    names |= {exemplar.labels.get("service_name", "") for exemplar in view.exemplars}
    return distinct_service_classes(names)


def _preferred_index(name: str) -> int:
    digest = zlib.crc32(name.encode(errors="surrogatepass"))
    return digest % len(OTHER_CLASSES)
