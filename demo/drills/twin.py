"""A second payment for a drill: ``python -m demo.drills.twin SECONDS``, whose clock is so many seconds ahead.

It ends with whoever started it: an orphan would be somebody's fault long after the drill.
"""

import os
import runpy
import signal
import sys
import threading
import time

LOOK = 0.25


def put_ahead(seconds: float) -> None:
    """Let this process' clock be ahead. Before OpenTelemetry is imported, which keeps the functions it finds."""
    now, nanoseconds = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: nanoseconds() + int(seconds * 1e9)


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
