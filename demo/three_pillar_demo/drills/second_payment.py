"""A second payment for a drill: ``python -m three_pillar_demo.drills.second_payment SECONDS``, whose clock is so many seconds ahead.

It ends with whoever started it: an orphan would be somebody's fault long after the drill.
"""

import datetime as dt
import os
import runpy
import signal
import sys
import threading
import time
from typing import Self

LOOK = 0.25


def put_ahead(seconds: float) -> None:
    """Let this process' clock be ahead. Before OpenTelemetry and structlog are imported, which keep what they find."""
    now, nanoseconds = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: nanoseconds() + int(seconds * 1e9)

    class Ahead(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Self:
            return super().now(tz) + dt.timedelta(seconds=seconds)

    dt.datetime = Ahead  # type: ignore[misc]


def end_with(parent: int) -> None:
    """End this process when ``parent`` is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with(os.getppid())
    if ahead := float(sys.argv[1]):
        put_ahead(ahead)
    sys.argv[1:] = []
    runpy.run_module("payment", run_name="__main__", alter_sys=True)
