"""Prepares text for a terminal, and shows the progress of a command that waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text


def printable(text: object, limit: int = 300) -> str:
    r"""Return ``text`` as one line of at most ``limit`` characters.

    Control characters, which could steer a terminal, are written as escapes (``\x1b``).
    """
    shown = "".join(_printable_character(character) for character in str(text)[: limit + 1])
    if len(shown) > limit:
        return shown[: limit - 1] + "…"
    return shown


def _printable_character(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    return ascii(character)[1:-1]  # without the quotes


@contextmanager
def progress_messages(err: Console) -> Iterator[Callable[[str], None]]:
    """Yield a function that reports the current step on ``err``.

    On a terminal the steps replace each other in one line that disappears at the end. Elsewhere
    each step is printed once, on a line of its own.
    """
    reported = set[str]()
    with err.status("") as status:

        def report(step: str) -> None:
            if err.is_terminal:
                status.update(Text(printable(step), "dim"))
            elif step not in reported:
                reported.add(step)
                err.print(Text(printable(step), "dim"), soft_wrap=True)

        yield report
