"""The verdict of a check, and the loop that repeats a check until the telemetry has arrived."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

TIMEOUT_S = 30.0
"""How long one check waits for telemetry to arrive, in seconds, before it fails."""
POLL_INTERVAL_S = 0.5
"""The pause between two attempts of a check, in seconds."""
MAX_CONCURRENT_QUERIES = 8
"""The number of queries that one check sends to a backend at the same time."""


@dataclass(frozen=True)
class Check:
    """The verdict of one check.

    Attributes:
        name: What was checked, as the report shows it.
        passed: Whether the check passed; None when it could not be judged.
        figures: What was counted or measured, as one line of text.
        problems: One line for each thing that is missing or wrong, such as a purchase or a trace.
            The list is empty when there is no problem.
    """

    name: str
    passed: bool | None
    figures: str
    problems: list[str] = field(default_factory=list)


async def poll_until(complete: Callable[[], Awaitable[bool]]) -> bool:
    """Call ``complete`` again and again until it returns True, for about ``TIMEOUT_S`` at most.

    Return True when ``complete`` has returned True, and False when the time is over.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        if await complete():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_INTERVAL_S)
