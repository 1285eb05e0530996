"""What a search for requests asks for, and what it finds."""

from dataclasses import dataclass

from three_pillar_demo.query.records import Span


@dataclass(frozen=True)
class RequestFilter:
    """Which requests a search finds. A field with its default value sets no condition.

    Attributes:
        service: The name of the service.
        failed: Whether the span of the request must have status ERROR.
        slower_than: The duration that the request must exceed, in seconds.
        attributes: Pairs of a name and a value, as text. The span of the request or its resource
            must have all of them as attributes.
        text: A part of the span's name or of its status message, in any case. The local store
            finds it in the attributes of the span as well.
        ended_before: The time, in nanoseconds since the epoch, before which the request must have
            ended; 0 for any time.
    """

    service: str = ""
    failed: bool = False
    slower_than: float = 0.0
    attributes: tuple[tuple[str, str], ...] = ()
    text: str = ""
    ended_before: int = 0


@dataclass(frozen=True)
class FoundRequest:
    """One request that a search has found.

    Attributes:
        span: The span of the request.
        services: The names of the services that have spans in the trace, sorted.
        failure: Why the request failed, as far as the search knows: the exception or the status
            message of the failed span of the trace that started last, and not before the request.
            Empty if the span of the request has not failed, or if no span says why.
    """

    span: Span
    services: tuple[str, ...] = ()
    failure: str = ""


def failure_of(span: Span) -> str:
    """Return why a span has failed: its last exception or its status message; "" if neither."""
    if not span.error:
        return ""
    return span.exceptions[-1] if span.exceptions else span.message
