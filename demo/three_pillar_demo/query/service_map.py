"""The service map: services, what they call, and how their requests and calls end."""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from three_pillar_demo.query.beginning import covered_seconds

ARRIVAL_GRACE_S = 10.0
"""How long, in seconds, the span of the called service may take to arrive after that of the call.

Only then a call without it counts as one that has reached nobody. Tempo waits as long.
"""

MIN_SECONDS = 1e-9
"""The length of a time range that is empty, so that numbers can be divided by it."""


class ParticipantKind(Enum):
    """What takes part in calls: a service, which sends spans, or something that sends none."""

    SERVICE = "service"
    DATABASE = "database"
    QUEUE = "queue"
    HOST = "host"
    CLIENTS = "clients"

    # The one of Enum is written in Python, and a map looks up each participant many times.
    __hash__ = object.__hash__


class Participant(NamedTuple):
    """One end of a call.

    Attributes:
        kind: What it is. CLIENTS stands for all that send requests and no spans.
        name: The name of the service; else the address, topic or product. Empty for CLIENTS, and
            for a callee of which nothing is known.
        system: The product of a database or message broker, such as ``postgresql``; else empty.
    """

    kind: ParticipantKind
    name: str = ""
    system: str = ""


CLIENTS = Participant(ParticipantKind.CLIENTS)
"""The callers that send no spans: their requests are spans of kind SERVER without a parent."""


def service(name: str) -> Participant:
    """Return the service with this name as the end of a call."""
    return Participant(ParticipantKind.SERVICE, name)


@dataclass
class Outcomes:
    """How many requests a service has received, and how many of them have failed.

    A request is a span of kind SERVER or CONSUMER, or a span without a parent; it has failed if
    its status is ERROR. The numbers are not whole if Prometheus has extrapolated them.
    """

    requests: float = 0.0
    failed: float = 0.0


@dataclass
class CallCounts:
    """How many calls one participant has made to another, and how many of them have failed.

    Attributes:
        calls: The number of calls.
        failed: The number of calls whose span at either end has status ERROR.
        failed_at_callee: Those of them whose span at the callee has status ERROR. Tempo's metrics
            do not say; then it is None.
        not_arrived: The number of failed calls that have reached nobody: those to a service that
            has no span of them, and those whose ``error.type`` says so.
    """

    calls: float = 0.0
    failed: float = 0.0
    failed_at_callee: float | None = 0.0
    not_arrived: float = 0.0


@dataclass
class ServiceMap:
    """All services and calls in a time range.

    Attributes:
        start: The start of the time range, in seconds since the epoch. It is later than the start
            that was asked for if there were too many spans to examine.
        end: The end of the time range.
        services: The requests of each service that has sent any span, by its name.
        calls: The calls, by caller and callee.
        notes: What the backend cannot tell, as complete sentences.
        begin: When the stored spans begin, in seconds since the epoch, if that is in the range.
    """

    start: float
    end: float
    services: dict[str, Outcomes] = field(default_factory=dict)
    calls: dict[tuple[Participant, Participant], CallCounts] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    begin: float | None = None

    @property
    def seconds(self) -> float:
        """The number of seconds by which numbers are divided to be rates."""
        return max(covered_seconds(self.end, self.end - self.start, self.begin), MIN_SECONDS)

    def add_requests(self, name: str, requests: float, failed: float) -> None:
        """Add to the requests of a service."""
        outcomes = self.services.setdefault(name, Outcomes())
        outcomes.requests += requests
        outcomes.failed += failed

    def add_calls(self, caller: Participant, callee: Participant, counts: CallCounts) -> None:
        """Add to the calls from one participant to another."""
        total = self.calls.setdefault((caller, callee), CallCounts())
        total.calls += counts.calls
        total.failed += counts.failed
        total.not_arrived += counts.not_arrived
        if total.failed_at_callee is not None and counts.failed_at_callee is not None:
            total.failed_at_callee += counts.failed_at_callee
        else:
            total.failed_at_callee = None
