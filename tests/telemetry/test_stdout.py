"""Lines on a real pipe: whole, in their order, counted where they are lost, and nobody waits."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import TextIO

import pytest

from tests.processes import wait_for
from three_pillars import stdout
from three_pillars.stdout import Stdout

PAGE = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe in which one page is free: whom to read, and where to write."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * PAGE)
    os.set_blocking(writer, True)
    os.read(reader, PAGE)
    stream = os.fdopen(writer, "w")
    yield reader, stream
    os.close(reader)  # who still waits for room waits no longer
    with suppress(BrokenPipeError):
        stream.close()


def test_a_traceback_is_not_waited_for(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for which there is half the room it wants is begun, and ended when somebody reads; those meanwhile are lost."""
    monkeypatch.setattr(stdout, "PATIENCE", 0.01)
    (reader, stream), lost = pipe, list[int]()
    out, long = Stdout(stream), "x" * 2 * PAGE
    monkeypatch.setattr(out, "lost", SimpleNamespace(add=lost.append))
    writing = threading.Thread(
        target=lambda: list(map(out.write, (f"{long}\n", "a\n", "b\n"))), daemon=True
    )
    writing.start()
    wait_for("all lines to be written or lost", lambda: not writing.is_alive())
    assert lost == [1, 1]
    os.set_blocking(reader, False)
    said = b""
    for line in ("c", "d"):
        with suppress(BlockingIOError):
            while True:
                said += os.read(reader, PAGE)
        out.write(f"{line}\n")
    said += os.read(reader, PAGE)
    assert said.decode().lstrip(".").split("\n") == [long, "c", "d", ""]
    assert os.get_blocking(stream.fileno()), "who else writes there waits as ever"


def test_who_reads_gets_a_line_of_any_length(pipe: tuple[int, TextIO]) -> None:
    """A line that no pipe can hold at once is written whole while somebody reads, the last one too."""
    reader, stream = pipe
    said = bytearray()

    def read() -> None:
        while not said.endswith(b"\n"):
            said.extend(os.read(reader, PAGE))

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    Stdout(stream).write("x" * 2**20 + "\n")
    wait_for("the line", lambda: not reading.is_alive())
    assert said.lstrip(b".") == b"x" * 2**20 + b"\n"
