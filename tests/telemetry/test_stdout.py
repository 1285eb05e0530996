"""Log lines on a real pipe are whole, in order, counted if they are lost, and block no writer."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import TextIO

import pytest

from tests.processes import wait_for
from three_pillars import stdout as stdout_module
from three_pillars.stdout import NonBlockingStdout

PAGE_BYTES = 4096
LONG_LINE_BYTES = 2**20


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Yield a pipe that is full except for 4096 bytes: its reading descriptor, its text stream."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * PAGE_BYTES)
    os.set_blocking(writer, True)
    os.read(reader, PAGE_BYTES)
    stream = os.fdopen(writer, "w")
    yield reader, stream
    os.close(reader)  # ends any write that still waits for room
    with suppress(BrokenPipeError):
        stream.close()


def read_available(reader: int) -> bytes:
    """Return all bytes in the pipe of the non-blocking descriptor ``reader``."""
    data = b""
    with suppress(BlockingIOError):
        while True:
            data += os.read(reader, PAGE_BYTES)
    return data


def test_long_line_does_not_wait_for_reader(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of which a part fits is completed when the pipe is read; lines until then are lost."""
    monkeypatch.setattr(stdout_module, "READER_TIMEOUT_S", 0.01)
    reader, stream = pipe
    stdout = NonBlockingStdout(stream)
    lost = list[int]()
    monkeypatch.setattr(stdout, "lost", SimpleNamespace(add=lost.append))
    long_line = "x" * 2 * PAGE_BYTES

    def write_lines() -> None:
        for line in (long_line, "a", "b"):
            stdout.write(f"{line}\n")

    writing = threading.Thread(target=write_lines, daemon=True)
    writing.start()
    wait_for("all lines to be written or lost", lambda: not writing.is_alive())
    assert lost == [1, 1]
    os.set_blocking(reader, False)
    received = b""
    for line in ("c", "d"):
        received += read_available(reader)
        stdout.write(f"{line}\n")
    received += os.read(reader, PAGE_BYTES)
    assert received.decode().lstrip(".").split("\n") == [long_line, "c", "d", ""]
    assert os.get_blocking(stream.fileno()), "other writers to the pipe still block, as before"


def test_line_of_any_length_reaches_reader(pipe: tuple[int, TextIO]) -> None:
    """A line longer than the pipe's capacity is written completely while the pipe is read."""
    reader, stream = pipe
    received = bytearray()

    def read_line() -> None:
        while not received.endswith(b"\n"):
            received.extend(os.read(reader, PAGE_BYTES))

    reading = threading.Thread(target=read_line, daemon=True)
    reading.start()
    NonBlockingStdout(stream).write("x" * LONG_LINE_BYTES + "\n")
    wait_for("the line", lambda: not reading.is_alive())
    assert received.lstrip(b".") == b"x" * LONG_LINE_BYTES + b"\n"
