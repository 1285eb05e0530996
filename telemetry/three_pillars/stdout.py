"""Lines on stdout, which may be full, closed, or a pipe whose reader is gone or asleep: nobody waits for it."""

import os
import time
from contextlib import suppress
from select import select
from stat import S_ISREG
from threading import Lock
from typing import TextIO

from opentelemetry import metrics

PATIENCE = 0.1
"""Seconds that a full pipe gets, once, to be read; then its lines are lost until it is."""
LONGEST = 1.0
"""Seconds that a line may take which is longer than a pipe, and somebody reads it bit by bit; its rest goes before the next."""


class Stdout:
    """Where lines go. What cannot be written (a full disk, a reader gone or asleep) is counted as lost; nobody waits for it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.patience, self.waits, self.lock = stream, PATIENCE, True, Lock()
        self.pipe: int | None = None
        self.rest = b""
        with suppress(
            OSError, ValueError, AttributeError
        ):  # asked once: each select gives the interpreter lock away
            self.waits = not S_ISREG(
                os.fstat(stream.fileno()).st_mode
            )  # a file never makes anybody wait
            # Room for a page is not room for a traceback. Opened anew it never waits, and nobody else who holds it notices;
            # a socket cannot be, nor is there such a path outside Linux.
            path, how = (
                f"/proc/self/fd/{stream.fileno()}",
                os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC,
            )
            self.pipe = os.open(path, how) if self.waits else None
        self.lost = metrics.get_meter("telemetry").create_counter(
            "log.lines.lost", "{line}", "Lines that stdout did not take."
        )

    def write(self, lines: str) -> None:
        """Write and flush ``lines``."""
        try:
            with self.lock:
                if self.pipe is not None:
                    self._offer(self.pipe, lines.encode())
                else:
                    self._write(lines)
        except (OSError, ValueError, AttributeError):  # the last: a process without stdout
            self.lost.add(1)

    def _offer(self, pipe: int, lines: bytes) -> None:
        """Write what is taken at once. A line that was begun is ended before the next one begins."""
        if self._goes_on(pipe):
            self.rest = lines
            if self._goes_on(pipe) or len(self.rest) < len(lines):
                return
            self.rest = b""
        raise BlockingIOError

    def _goes_on(self, pipe: int) -> bool:
        """Write the rest, while somebody reads; whether all is written."""
        deadline = time.monotonic() + LONGEST
        while self.rest:
            try:
                self.rest = self.rest[os.write(pipe, self.rest) :]
            except BlockingIOError:
                if (
                    not self.patience
                    or not select([], [pipe], [], self.patience)[1]
                    or time.monotonic() > deadline
                ):
                    self.patience = 0.0
                    return False
            else:
                self.patience = PATIENCE
        return True

    def _write(self, lines: str) -> None:
        with suppress(OSError, ValueError, TypeError):  # what is no file has room
            self.patience = (
                PATIENCE
                if not self.waits or select([], [self.stream], [], self.patience)[1]
                else 0.0
            )
        if not self.patience:
            raise BlockingIOError
        self.stream.write(lines)
        self.stream.flush()

    def flush(self) -> None:
        """Do nothing: all is written."""
