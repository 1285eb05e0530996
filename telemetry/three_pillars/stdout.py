"""Write log lines to stdout without blocking requests, and count those that stdout does not accept.

stdout may be a file on a full disk, closed, or a pipe whose reader has ended or does not read. In
these cases a write waits at most as long as ``READER_TIMEOUT_S`` and ``LINE_TIMEOUT_S`` allow.
"""

import os
import time
from select import select
from stat import S_ISREG
from threading import Lock
from typing import TextIO

from opentelemetry import metrics

from .forks import call_in_children

READER_TIMEOUT_S = 0.1
"""Seconds that a write to a full pipe waits for the reader.

After a timeout, lines are lost at once, without waiting, until the reader reads again.
"""
LINE_TIMEOUT_S = 1.0
"""Seconds that the write of one line may take if the reader reads slowly.

After that time the remainder of the line is kept, and written before the next line.
"""


class NonBlockingStdout:
    """Text stream that writes lines to ``stream``, and counts the lines that are not accepted.

    The counter is the metric ``log.lines.lost``. It belongs to the global meter provider.
    """

    def __init__(self, stream: TextIO) -> None:
        self.lock = Lock()
        self.writer = _open_writer(stream)
        self.lost = metrics.get_meter("telemetry").create_counter(
            "log.lines.lost", "{line}", "Log lines that stdout did not accept."
        )
        call_in_children(self._reset)

    def _reset(self) -> None:
        """In a child process of ``os.fork()``, leave the rest of a line to the parent.

        A thread of the parent that is writing a line would keep the lock for ever.
        """
        self.lock = Lock()
        if isinstance(self.writer, _PipeWriter):
            self.writer.remainder = b""

    def write(self, text: str) -> None:
        """Write and flush ``text``, which is one or more whole lines.

        If ``text`` is not accepted, it counts as one lost line.
        """
        try:
            with self.lock:
                accepted = self.writer.write(text)
        except (OSError, ValueError, AttributeError):
            # AttributeError: sys.stdout is None in a process that was started without a stdout.
            accepted = False
        if not accepted:
            self.lost.add(1)

    def flush(self) -> None:
        """Do nothing, because ``write`` has already flushed."""


class _PipeWriter:
    """Writes lines to a pipe, a terminal or another device that has a reader, without blocking.

    If the device accepts only the beginning of a line, ``remainder`` is the end of this line. The
    remainder is written before the next line, so that every line is either whole or absent.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.remainder = b""
        self.timeout_s = READER_TIMEOUT_S

    def write(self, text: str) -> bool:
        """Write ``text``; return True if at least the beginning of ``text`` was accepted.

        What was not accepted is then written before the next text. If nothing was accepted, return
        False: ``text`` is lost.
        """
        line = text.encode()
        if not self._write_remainder():
            return False
        self.remainder = line
        if self._write_remainder() or len(self.remainder) < len(line):
            return True
        self.remainder = b""
        return False

    def _write_remainder(self) -> bool:
        """Write ``remainder`` within the time limits, and return whether all of it was written."""
        deadline = time.monotonic() + LINE_TIMEOUT_S
        while self.remainder:
            try:
                count = os.write(self.descriptor, self.remainder)
            except BlockingIOError:
                if not self._wait_for_reader() or time.monotonic() > deadline:
                    self.timeout_s = 0.0
                    return False
            else:
                self.remainder = self.remainder[count:]
                self.timeout_s = READER_TIMEOUT_S
        return True

    def _wait_for_reader(self) -> bool:
        if not self.timeout_s:
            return False
        _, writable, _ = select([], [self.descriptor], [], self.timeout_s)
        return bool(writable)


class _StreamWriter:
    """Writes lines to a regular file, or to a stream that cannot be reopened in non-blocking mode.

    ``may_block`` is false for a regular file, to which a write never blocks. If ``may_block`` is
    true, each write waits at most ``READER_TIMEOUT_S`` for room in the stream. If there is no room
    by then, the line is lost. After a timeout, lines are lost at once, without waiting, until the
    stream has room again.
    """

    def __init__(self, stream: TextIO, *, may_block: bool) -> None:
        self.stream = stream
        self.may_block = may_block
        self.timeout_s = READER_TIMEOUT_S

    def write(self, text: str) -> bool:
        """Write ``text`` if the stream has room for it; return whether ``text`` was written."""
        if self.may_block and not self._has_room():
            return False
        self.stream.write(text)
        self.stream.flush()
        return True

    def _has_room(self) -> bool:
        try:
            _, writable, _ = select([], [self.stream], [], self.timeout_s)
        except (OSError, ValueError, TypeError):
            return True  # an object in memory, which has no descriptor
        self.timeout_s = READER_TIMEOUT_S if writable else 0.0
        return bool(writable)


def _open_writer(stream: TextIO) -> _PipeWriter | _StreamWriter:
    try:
        descriptor = stream.fileno()
        # A write to a regular file never blocks. This is found out once, because each select()
        # releases the interpreter lock.
        if S_ISREG(os.fstat(descriptor).st_mode):
            return _StreamWriter(stream, may_block=False)
        # select() reports room for one page of a pipe, and a traceback is longer: its write would
        # block. Opened again, the pipe has flags of its own, so the other processes that write to
        # it do not get O_NONBLOCK. A socket cannot be opened so, and only Linux has this path.
        path = f"/proc/self/fd/{descriptor}"
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return _PipeWriter(os.open(path, flags))
    except (OSError, ValueError, AttributeError):
        return _StreamWriter(stream, may_block=True)
