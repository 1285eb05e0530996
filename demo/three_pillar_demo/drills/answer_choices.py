"""The words among which a player chooses the parts "what" and "where" of an answer.

The choice is the same for every drill of a mode, and is wider than the answers: it must not tell
more about the cause than the telemetry does.
"""

from collections.abc import Iterable
from functools import cache

from three_pillar_demo.drills.catalogue import REASONS, DrillError
from three_pillar_demo.drills.choice import drills_of
from three_pillar_demo.stack.components import MODES

Choices = dict[str, tuple[str, ...]]
"""The words that can be chosen, by the heading below which they are listed."""

COMPONENT = "a component"
NOT_COMPONENTS: Choices = {"customers or the proxy": ("customers", "proxy")}
"""What else may have the fault: those who send requests, and what lies between two services."""
SERVED_BY_US = ("web",)
"""The components that no drill is about."""
ROUTES = {"/checkout": "checkout", "/charges": "payment"}
"""The service of each route: a service has a single one, so the two name the same place."""
PLACES: Choices = {
    "a version": ("0.1.0", "0.2.0"),
    "a card": ("visa", "mastercard", "amex", "declined", "gateway-timeout"),
    "a metric": (
        "checkout_orders_total",
        "checkout_requests_total",
        "http_server_request_duration_seconds",
    ),
    "a header between two services": ("traceparent", "baggage"),
}
"""The places that are no components; further answers of drills are added."""
FURTHER = "something else"


@cache
def what_choices(mode: str) -> Choices:
    """Return the components of ``mode``, and the others that may have the fault.

    Raises:
        DrillError: The file of a drill is invalid.
    """
    choices = {COMPONENT: _components(mode)} | NOT_COMPONENTS
    return _with_answers(choices, (drill.answer.what for drill in drills_of(mode)))


@cache
def where_choices(mode: str) -> Choices:
    """Return the components of ``mode``, each with its route, and the other places in the shop.

    Raises:
        DrillError: The file of a drill is invalid.
    """
    choices = {COMPONENT: _components(mode)} | PLACES
    return _with_answers(choices, (drill.answer.where for drill in drills_of(mode)))


def _components(mode: str) -> tuple[str, ...]:
    return tuple(component.name for component in MODES[mode] if component.name not in SERVED_BY_US)


def _with_answers(choices: Choices, answers: Iterable[tuple[str, ...]]) -> Choices:
    """Return ``choices`` with a word for each of ``answers`` of which no word can be chosen.

    An answer has the words that a drill accepts. The first one is added, as of a drill that a user
    has written.
    """
    known = {place(word) for words in choices.values() for word in words}
    further = {words[0] for words in answers if known.isdisjoint(map(place, words))}
    return choices | ({FURTHER: tuple(sorted(further))} if further else {})


def choices_of(mode: str) -> dict[str, Choices]:
    """Return the choices of the parts ``what`` and ``where`` in ``mode``.

    They are empty if the file of a drill is invalid.
    """
    try:
        return {"what": what_choices(mode), "where": where_choices(mode)}
    except DrillError:
        return {"what": {}, "where": {}}


def place(word: str) -> str:
    """Return the word for what ``word`` names, in lower case: a route is at its service."""
    name = word.strip().lower()
    route = "/" + name.removeprefix("post ").removeprefix("/")
    return ROUTES.get(route, name)


def label(word: str) -> str:
    """Return how a place is shown: a service with its route, as ``payment (/charges)``."""
    route = next((route for route, service in ROUTES.items() if service == word), "")
    return f"{word} ({route})" if route else word


def shown(part: str, word: str) -> str:
    """Return how the ``part`` of an answer is shown: as the form for answers shows it.

    A reason is shown by its meaning, and a service as a place by its name and its route.
    """
    if part == "why":
        return REASONS.get(word, word)
    name = place(word)
    if name not in ROUTES.values():
        return word
    return label(name) if part == "where" else name


def accepted_choices(mode: str, part: str, accepted: Iterable[str]) -> list[str]:
    """Return the places that the words ``accepted`` name and that the form of ``mode`` offers.

    The result has the first of these words alone if the form offers none of them.
    """
    words = list(accepted)
    offered = {place(word) for group in choices_of(mode)[part].values() for word in group}
    places = dict.fromkeys(place(word) for word in words)
    return [name for name in places if name in offered] or words[:1]


def kinds(choices: Choices) -> str:
    """Return what can be chosen as a part of a sentence: ``a version, a card or a metric``."""
    *first, last = choices
    if not first:
        return last
    return f"{', '.join(first)}{', ' if ' or ' in last else ' or '}{last}"


def listing(choices: Choices) -> list[str]:
    """Return one line for each heading of ``choices``, with its words unless it names them."""
    return [
        heading if all(word in heading for word in words) else f"{heading}: {', '.join(words)}"
        for heading, words in choices.items()
    ]


def is_known(mode: str, part: str, word: str) -> bool:
    """Return whether ``word`` can be the ``part`` of an answer to some drill of ``mode``.

    Every word is known if the file of a drill is invalid.
    """
    choices = choices_of(mode)[part]
    if not choices:
        return True
    words = {choice for words in choices.values() for choice in words}
    for drill in drills_of(mode):
        words.update(getattr(drill.answer, part))
    return place(word) in map(place, words)
