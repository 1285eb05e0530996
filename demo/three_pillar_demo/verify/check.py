"""The verdict of one check, and how a check waits for telemetry that is still on its way."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

TIMEOUT_S = 30.0
"""The time after the last answer within which a backend must have everything."""
POLL_INTERVAL_S = 0.5
MAX_CONCURRENT_QUERIES = 8


@dataclass(frozen=True)
class Check:
    """The verdict of one check.

    Attributes:
        name: What was checked, as the report shows it.
        passed: None when it could not be judged.
        figures: The counts in one sentence.
        missing: One line for each purchase, trace or series that is wrong, with its id.
    """

    name: str
    passed: bool | None
    figures: str
    missing: list[str] = field(default_factory=list)


async def poll_until(complete: Callable[[], Awaitable[bool]]) -> bool:
    """Call ``complete`` until it returns True; return False after ``TIMEOUT_S``."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        if await complete():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_INTERVAL_S)
