"""Yields requests and log records as they arrive, as far as possible in the order of time."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from three_pillar_demo.query.arrivals import time_of
from three_pillar_demo.query.interface import Arrival, Arrivals, BackendError

POLL_INTERVAL_S = 0.5
"""The pause between two polls, in seconds."""
HOLD_S = 1.0
"""How long a record is held back, in seconds, so that older records can overtake it.

Services export their telemetry about once a second, each at moments of its own.
"""


class ReorderBuffer:
    """Holds records back for ``HOLD_S``, and releases them in the order of their times.

    A record that arrives later than that, with an older time than what was released before, is
    released out of order. None is ever dropped.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Arrival]] = []

    def add(self, arrivals: list[Arrival], now: float) -> None:
        """Hold ``arrivals`` back from ``now`` on, a time of the monotonic clock."""
        self.waiting.extend((now, arrival) for arrival in arrivals)

    def release(self, now: float) -> list[Arrival]:
        """Return the records that have waited long enough, and all records with older times."""
        due = [time_of(arrival) for since, arrival in self.waiting if now - since >= HOLD_S]
        if not due:
            return []
        newest_due = max(due)
        released = [arrival for _, arrival in self.waiting if time_of(arrival) <= newest_due]
        self.waiting = [held for held in self.waiting if time_of(held[1]) > newest_due]
        return sorted(released, key=time_of)

    def rest(self) -> list[Arrival]:
        """Return all records that are still held back."""
        released = sorted((arrival for _, arrival in self.waiting), key=time_of)
        self.waiting = []
        return released


async def feed(
    arrivals: Arrivals, lines: int, buffer: ReorderBuffer, report: Callable[[str], None]
) -> AsyncGenerator[list[Arrival], None]:
    """Yield the newest ``lines`` records, then what arrives, without end; a list may be empty.

    When a backend stops answering, ``report`` is called once with the reason, and once when it
    answers again. What arrived meanwhile is yielded then.

    Raises:
        BackendError: A backend does not answer the first query.
    """
    yield await arrivals.begin(lines)
    is_down = False
    while True:
        try:
            buffer.add(await arrivals.poll(), time.monotonic())
        except BackendError as error:
            if not is_down:
                report(f"waiting, because {error}")
            is_down = True
        else:
            if is_down:
                report("answered again")
            is_down = False
        yield buffer.release(time.monotonic())
        if is_down or not arrivals.is_behind:
            await asyncio.sleep(POLL_INTERVAL_S)
