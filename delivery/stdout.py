"""Lines on stdout, which may be full, closed, or a pipe whose reader is gone or asleep: nobody waits for it."""

import os
from contextlib import suppress
from select import select
from stat import S_ISREG
from typing import TextIO

from opentelemetry import metrics

PATIENCE = 0.1
"""Seconds that a full pipe gets, once, to be read; then its lines are lost until it is."""


class Stdout:
    """Where lines go. What cannot be written (a full disk, a reader gone or asleep) is counted as lost; nobody waits for it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.patience, self.waits = stream, PATIENCE, True
        with suppress(OSError, ValueError, AttributeError):  # asked once: each select gives the interpreter lock away
            self.waits = not S_ISREG(os.fstat(stream.fileno()).st_mode)  # a file never makes anybody wait
        self.lost = metrics.get_meter("telemetry").create_counter("log.lines.lost", "{line}", "Lines that stdout did not take.")

    def write(self, lines: str) -> None:
        """Write and flush ``lines``."""
        with suppress(OSError, ValueError, TypeError):  # what is no file has room
            self.patience = PATIENCE if not self.waits or select([], [self.stream], [], self.patience)[1] else 0
        try:
            if not self.patience:
                raise BlockingIOError
            self.stream.write(lines)
            self.stream.flush()
        except (OSError, ValueError, AttributeError):  # the last: a process without stdout
            self.lost.add(1)

    def flush(self) -> None:
        """Do nothing: all is written."""
