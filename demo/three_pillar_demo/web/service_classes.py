"""Gives each service a CSS class of a fixed palette, which sets the colour of the service.

The name of a service is never a class itself: it could be that of a class with another meaning.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from jinja2 import pass_context
from jinja2.runtime import Context

from three_pillar_demo.trace_view.view import TraceView

SHOP_CLASSES = {"checkout": "service-0", "payment": "service-1"}
"""The classes that belong to one service each, on every page that shows this service."""
OTHER_CLASSES = ("service-2", "service-3", "service-4", "service-5", "service-6", "service-7")
"""The classes that the other services share."""
PALETTE_SIZE = len(SHOP_CLASSES) + len(OTHER_CLASSES)
"""The number of services that can be told apart by their colours."""
MAX_REMEMBERED = 1_000
"""The number of services whose classes are remembered."""


class ServiceColours:
    """Gives the services of one view different classes, and each the same one next time.

    What a service got is remembered, so that it keeps its colour when others come and go.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.remembered: dict[str, str] = {}

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """Return the class of each of ``names``, the most important first.

        No two of the first ``PALETTE_SIZE`` have the same class. The others share the classes
        evenly.
        """
        ordered = list(dict.fromkeys(names))
        classes = {name: SHOP_CLASSES[name] for name in ordered if name in SHOP_CLASSES}
        reserved = set(classes.values())
        uses = Counter(classes.values())
        for part, limit in (
            (ordered[:PALETTE_SIZE], 1),
            (ordered[PALETTE_SIZE:], -(-len(ordered) // PALETTE_SIZE)),
        ):
            waiting = []
            for name in (name for name in part if name not in classes):
                known = self.remembered.get(name, "")
                if known and known not in reserved and uses[known] < limit:
                    classes[name] = known
                    uses[known] += 1
                else:
                    waiting.append(name)
            for name in waiting:
                wanted = _by_preference(name) if limit > 1 else self._unused_first(name)
                free = [one for one in wanted if one not in reserved]
                classes[name] = min(free, key=uses.__getitem__)
                uses[classes[name]] += 1
        # What one of many gets must not change what it has where it can be told apart.
        self._remember({name: classes[name] for name in ordered[PALETTE_SIZE:]}, is_new=False)
        self._remember({name: classes[name] for name in ordered[:PALETTE_SIZE]}, is_new=True)
        return {name: classes[name] for name in ordered}

    def _unused_first(self, name: str) -> list[str]:
        """Return the classes for a service that is new: last that of the most important one."""
        shown_last = list(self.remembered.values())[-PALETTE_SIZE:]
        places = {one: place for place, one in enumerate(shown_last)}
        return sorted(_by_preference(name), key=lambda one: -places.get(one, PALETTE_SIZE))

    def _remember(self, classes: Mapping[str, str], *, is_new: bool) -> None:
        for name, css_class in classes.items():
            # What was used last is forgotten last.
            known = self.remembered.pop(name, css_class)
            self.remembered[name] = css_class if is_new else known
        for name in list(self.remembered)[:-MAX_REMEMBERED]:
            del self.remembered[name]


def service_class(name: str) -> str:
    """Return the CSS class of a service on a page that shows no other one."""
    return SHOP_CLASSES.get(name) or _by_preference(name)[0]


@pass_context
def class_on_page(context: Context, name: str) -> str:
    """Return the CSS class of a service on the page that is rendered: a filter of Jinja.

    The variable ``service_classes`` of the page, if it has one, has the classes by name.
    """
    classes: Mapping[str, str] = context.get("service_classes") or {}
    return classes.get(name) or service_class(name)


def distinct_service_classes(names: Iterable[str]) -> dict[str, str]:
    """Return the CSS class of each service, by name, which depends on ``names`` alone."""
    return ServiceColours().of(sorted(names))


def trace_service_classes(view: TraceView) -> dict[str, str]:
    """Return the CSS class of each service of a trace, by the name of the service."""
    names = {span.service for span in view.spans}
    names |= {record.service for record in view.logs}
    names |= {exemplar.labels.get("service_name", "") for exemplar in view.exemplars}
    return distinct_service_classes(names)


def _by_preference(name: str) -> Sequence[str]:
    """Return the classes that a service may have, the best one first."""
    start = zlib.crc32(name.encode(errors="surrogatepass")) % len(OTHER_CLASSES)
    return (*OTHER_CLASSES[start:], *OTHER_CLASSES[:start], *SHOP_CLASSES.values())
