"""Gives each service of a trace a CSS class, which sets the colour of the service."""

from itertools import cycle

from three_pillar_demo.trace_view.view import TraceView

SHOP = ("checkout", "payment")
"""The services with a colour of their own on every page; the class is the name of the service."""
OTHER_CLASSES = ("service-1", "service-2", "service-3", "service-4", "service-5")
"""The classes of other services, given in the order of their first appearance, and repeated."""


def service_classes(view: TraceView) -> dict[str, str]:
    """Return the CSS class of each service of a trace, by the name of the service."""
    times = [(span.start, span.service) for span in view.spans]
    times += [(record.time, record.service) for record in view.logs]
    services = dict.fromkeys(service for _, service in sorted(times))
    others = cycle(OTHER_CLASSES)
    return {service: service if service in SHOP else next(others) for service in services}
