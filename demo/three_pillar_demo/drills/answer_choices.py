"""The words among which a player chooses the parts "what" and "where" of an answer.

The choice is the same for every drill of a mode, and is wider than the answers: it must not tell
more about the cause than the telemetry does.
"""

from collections.abc import Iterable
from functools import cache

from three_pillar_demo.drills.catalogue import DrillError
from three_pillar_demo.drills.choice import drills_of
from three_pillar_demo.stack.components import MODES

Choices = dict[str, tuple[str, ...]]
"""The words that can be chosen, by the heading below which they are listed."""

NOT_COMPONENTS = ("customers", "proxy")
"""What else may have the fault: those who send requests, and what lies between two services."""
SERVED_BY_US = ("web",)
"""The components that no drill is about."""
WHERE: Choices = {
    "a service": ("checkout", "payment"),
    "a route": ("/checkout", "/charges", "/healthz"),
    "a version": ("0.1.0", "0.2.0"),
    "a card": ("visa", "mastercard", "amex", "declined", "gateway-timeout"),
    "a metric": (
        "checkout_orders_total",
        "checkout_requests_total",
        "http_server_request_duration_seconds",
    ),
    "between two services": ("traceparent", "baggage"),
}
"""The places in the shop; the components of the mode, and further answers of drills, are added."""
FURTHER = "something else"


@cache
def what_choices(mode: str) -> Choices:
    """Return the components of ``mode``, and the others that may have the fault.

    Raises:
        DrillError: The file of a drill is invalid.
    """
    components = tuple(
        component.name for component in MODES[mode] if component.name not in SERVED_BY_US
    )
    choices = {"a component": components, "not a component": NOT_COMPONENTS}
    return _with_answers(choices, (drill.answer.what for drill in drills_of(mode)))


@cache
def where_choices(mode: str) -> Choices:
    """Return the places in the shop and the components of ``mode``.

    Raises:
        DrillError: The file of a drill is invalid.
    """
    components = what_choices(mode)["a component"]
    others = tuple(name for name in components if name not in WHERE["a service"])
    choices = WHERE | {"another component": others}
    return _with_answers(choices, (drill.answer.where for drill in drills_of(mode)))


def _with_answers(choices: Choices, answers: Iterable[tuple[str, ...]]) -> Choices:
    """Return ``choices`` with a word for each of ``answers`` of which no word can be chosen.

    An answer has the words that a drill accepts. The first one is added, as of a drill that a user
    has written.
    """
    known = {word.lower() for words in choices.values() for word in words}
    further = {words[0] for words in answers if known.isdisjoint(word.lower() for word in words)}
    return choices | ({FURTHER: tuple(sorted(further))} if further else {})


def choices_of(mode: str) -> dict[str, Choices]:
    """Return the choices of the parts ``what`` and ``where`` in ``mode``.

    They are empty if the file of a drill is invalid.
    """
    try:
        return {"what": what_choices(mode), "where": where_choices(mode)}
    except DrillError:
        return {"what": {}, "where": {}}
