"""Runs a second payment process for a drill, with a clock that can be ahead.

Usage: ``python -m three_pillar_demo.drills.second_payment SECONDS``. ``SECONDS`` is how far the
clock is ahead; 0 leaves the clock unchanged.

When the process that runs the drill ends, this process ends too, so that no fault outlives the
drill.
"""

import datetime as dt
import os
import runpy
import signal
import sys
import threading
import time
from typing import Self

POLL_INTERVAL_S = 0.25
"""Seconds between two checks of whether the parent process still runs."""
NANOSECONDS_PER_SECOND = 1e9


def advance_clock(seconds: float) -> None:
    """Replace Python's clock functions in this process by functions that are ``seconds`` ahead.

    Call this function before OpenTelemetry and structlog are imported, because they keep references
    to the clock functions.
    """
    real_time = time.time
    real_time_ns = time.time_ns
    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_time_ns() + int(seconds * NANOSECONDS_PER_SECOND)

    class AdvancedDatetime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Self:
            return super().now(tz) + dt.timedelta(seconds=seconds)

    dt.datetime = AdvancedDatetime  # type: ignore[misc]


def exit_with_parent(parent: int) -> None:
    """Start a thread that sends SIGTERM to this process when the process ``parent`` has ended.

    ``parent`` is the process id of the present parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_INTERVAL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    exit_with_parent(os.getppid())
    offset = float(sys.argv[1])
    if offset:
        advance_clock(offset)
    sys.argv[1:] = []
    runpy.run_module("services.payment", run_name="__main__", alter_sys=True)
