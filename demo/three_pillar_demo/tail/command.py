"""The command ``demo tail``: prints requests and log records as they arrive."""

import asyncio
import contextlib
import os
import select
import sys
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import Arrival, BackendError, Backends, Selection
from three_pillar_demo.tail.feed import ReorderBuffer, feed
from three_pillar_demo.tail.lines import LineRenderer, json_line
from three_pillar_demo.tail.reasons import reasons
from three_pillar_demo.terminal import printable

Write = Callable[[Arrival, str], None]
"""A function that prints a request, with the reason of its failure, or a log record."""


def tail(selection: Selection, lines: int, *, as_json: bool = False) -> int:
    """Print the newest ``lines`` requests and log records, then those that arrive, until Ctrl-C.

    Returns:
        The exit code: 0 after Ctrl-C, or when the reader of the output is gone; 1 when a backend
        does not answer the first query.
    """
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    write = _write_json if as_json else _text_writer()
    try:
        asyncio.run(_tail(selection, lines, write, err))
    except BackendError as error:
        err.print(Text.assemble(("demo tail: ", "red"), printable(error, 600)))
        return 1
    except BrokenPipeError:
        # Python flushes stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass
    return 0


async def _tail(selection: Selection, lines: int, write: Write, err: Console) -> None:
    buffer = ReorderBuffer()

    def report(reason: str) -> None:
        err.print(Text(f"demo tail: {printable(reason, 600)}", "yellow"))

    async with connect.create_backends() as backends:
        if err.is_terminal:
            followed = printable(selection.service, 64) or "all services"
            err.print(f"Following {followed}. Ctrl-C ends.", style="dim", markup=False)
        try:
            batches = feed(backends.arrivals(selection), lines, buffer, report)
            async with contextlib.aclosing(batches):
                async for batch in batches:
                    await _print(backends, batch, write)
                    _check_reader()
        except asyncio.CancelledError:  # Ctrl-C: what was held back is printed without reasons
            for arrival in buffer.rest():
                write(arrival, "")
            raise


async def _print(backends: Backends, batch: list[Arrival], write: Write) -> None:
    for arrival, reason in zip(batch, await reasons(backends, batch), strict=True):
        write(arrival, reason)


def _text_writer() -> Write:
    console = Console(highlight=False, soft_wrap=True)
    renderer = LineRenderer()

    def write(arrival: Arrival, reason: str) -> None:
        width = console.width if console.is_terminal else None
        with console.capture() as capture:
            console.print(renderer.text(arrival, reason, width))
        sys.stdout.write(capture.get())
        sys.stdout.flush()

    return write


def _write_json(arrival: Arrival, reason: str) -> None:
    sys.stdout.write(f"{json_line(arrival, reason)}\n")
    sys.stdout.flush()


def _check_reader() -> None:
    """Raise ``BrokenPipeError`` if stdout is a pipe that nobody reads any more.

    Without this check, the command would run on until the next record arrives.
    """
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # stdout is no file, as in tests
        return
    poll = select.poll()
    poll.register(descriptor, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError
