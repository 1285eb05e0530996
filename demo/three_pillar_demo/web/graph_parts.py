"""The parts of the service graph as texts: a node, the calls between two nodes, a disagreement."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from three_pillar_demo.query.service_map import (
    CallCounts,
    Outcomes,
    Participant,
    ParticipantKind,
    ServiceMap,
)
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.names import UNNAMED_SERVICE, named
from three_pillar_demo.web import formatting
from three_pillar_demo.web.service_classes import service_class

MAX_SENTENCE_NAME = 40
"""The number of characters of a name within a sentence."""
MAX_NAME = 255
"""The number of characters of a name in an address or a title."""
MAX_REMEMBERED = 1_000
"""The number of participants whose names are remembered; a graph has each of them many times."""
EVERY_ONE = formatting.percentage(1.0)
KIND_TEXTS = {
    ParticipantKind.DATABASE: "database",
    ParticipantKind.QUEUE: "queue",
    ParticipantKind.HOST: "host",
    ParticipantKind.CLIENTS: "no spans",
}

Call = tuple[Participant, Participant, CallCounts]
"""The caller, the callee, and how many calls there were."""


@dataclass(frozen=True)
class Node:
    """One node of the drawing.

    Attributes:
        participant: What it stands for.
        name: Its whole name.
        css_class: The class of the colour of a service; empty for others.
        text: The second line, without failures.
        failed: The share of failed requests as text; empty if none has failed.
        is_unreached: Whether no call of it has arrived.
    """

    participant: Participant
    name: str
    css_class: str = ""
    text: str = ""
    failed: str = ""
    is_unreached: bool = False

    @property
    def sentence(self) -> str:
        """All that the node says, with its whole name."""
        failed = f", {self.failed} failed" if self.failed else ""
        unreached = ", no call arrives" if self.is_unreached else ""
        return f"{self.name}: {self.text}{failed}{unreached}"

    @property
    def kind(self) -> str:
        """The kind of the participant, which is the CSS class of its shape."""
        return f"of-{self.participant.kind.value}"


@dataclass(frozen=True)
class Row:
    """The calls from one participant to another, as text."""

    caller: Participant
    callee: Participant
    caller_name: str
    callee_name: str
    rate: str
    failed: str
    not_arrived: str

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the caller and the callee."""
        return (key_of(self.caller), key_of(self.callee))

    @property
    def failure(self) -> str:
        """The failures as the arrow's label says them; empty if there are none."""
        if self.not_arrived == EVERY_ONE:
            return "none arrived"
        if self.not_arrived:
            return f"{self.not_arrived} not arrived"
        return f"{self.failed} failed" if self.failed else ""

    @property
    def sentence(self) -> str:
        """The row as one sentence."""
        failed = f", {self.failed} failed" if self.failed else ", none failed"
        lost = f", {self.not_arrived} did not arrive" if self.not_arrived else ""
        return f"{self.caller_name} calls {self.callee_name} {self.rate}{failed}{lost}"


class Disagreement(NamedTuple):
    """How many calls have failed for the caller alone, and the names of both ends."""

    calls: str
    caller: str
    callee: str


@lru_cache(MAX_REMEMBERED)
def full_name(participant: Participant) -> str:
    """Return the name of a participant without control characters, and what it is if it has none.

    Two participants with the same result are alike to a reader.
    """
    unnamed = {
        ParticipantKind.CLIENTS: "clients",
        ParticipantKind.SERVICE: UNNAMED_SERVICE,
        ParticipantKind.HOST: "unnamed host",
    }
    stand_in = named(participant.system, unnamed.get(participant.kind, "unnamed"), MAX_NAME)
    return named(participant.name, stand_in, MAX_NAME)


def key_of(participant: Participant) -> str:
    """Return what identifies a participant: the name of a service, else also what it is."""
    if participant.kind is ParticipantKind.SERVICE:
        return participant.name
    return f"{participant.kind.value} {participant.system} {participant.name}"


def has_page(participant: Participant) -> bool:
    """Return True if the participant is a service whose name can be in an address."""
    name = participant.name
    is_service = participant.kind is ParticipantKind.SERVICE
    return is_service and 0 < len(name) <= MAX_NAME and name.isprintable()


def node_of(participant: Participant, service_map: ServiceMap, seconds: float) -> Node:
    """Return the node of ``participant``; ``seconds`` is the length of the time range."""
    name = full_name(participant)
    if participant.kind is not ParticipantKind.SERVICE:
        parts = [KIND_TEXTS[participant.kind]]
        if participant.system and participant.name:
            parts.append(printable(participant.system, MAX_NAME))
        return Node(participant, name, text=" · ".join(parts))
    outcomes = service_map.services.get(participant.name, Outcomes())
    # Looking through all calls takes a while, so it is left out where the answer is known.
    is_unreached = not outcomes.requests and _is_unreached(participant, service_map)
    text = formatting.rate(outcomes.requests / seconds) if outcomes.requests else "no requests"
    failed = formatting.percentage(outcomes.failed / outcomes.requests) if outcomes.failed else ""
    css_class = service_class(participant.name)
    return Node(participant, name, css_class, text, failed, is_unreached)


def _is_unreached(participant: Participant, service_map: ServiceMap) -> bool:
    """Return whether there are calls of ``participant``, and none has arrived."""
    received = [
        counts for (_, callee), counts in service_map.calls.items() if callee == participant
    ]
    return bool(received) and all(counts.not_arrived == counts.calls for counts in received)


def row_of(call: Call, seconds: float) -> Row:
    """Return the texts of a call; ``seconds`` is the length of the time range."""
    caller, callee, counts = call
    return Row(
        caller,
        callee,
        full_name(caller),
        full_name(callee),
        formatting.rate(counts.calls / seconds),
        formatting.percentage(counts.failed / counts.calls) if counts.failed else "",
        formatting.percentage(counts.not_arrived / counts.calls) if counts.not_arrived else "",
    )


def failed_for_caller_alone(call: Call) -> float:
    """Return how many calls of a service have arrived, and failed for the caller alone."""
    caller, callee, counts = call
    both_send = caller.kind is callee.kind is ParticipantKind.SERVICE
    if not both_send or counts.failed_at_callee is None:
        return 0.0
    return counts.failed - counts.failed_at_callee - counts.not_arrived


def disagreement(call: Call) -> Disagreement:
    """Return what the page says of a call that has failed for the caller alone."""
    return Disagreement(
        f"{failed_for_caller_alone(call):.0f}",
        printable(full_name(call[0]), MAX_SENTENCE_NAME),
        printable(full_name(call[1]), MAX_SENTENCE_NAME),
    )
