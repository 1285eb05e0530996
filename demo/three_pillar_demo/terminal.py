"""Prepares text for a terminal, and shows the progress of a command that waits."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

ESCAPE = re.compile("[\x1b\x80-\x9f]")
"""The characters that begin an escape sequence."""
ANSI_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # a control sequence, such as a colour
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # a link
    r"|\x1b[ -/]*[0-Z\\^-~]"  # any other escape sequence
)
"""The escape sequences that programs write for a terminal (ECMA-48)."""
MAX_CLEANED = 20_000
"""The number of characters of a text that may have escape sequences which are kept."""


def without_ansi(text: str) -> str:
    """Return ``text`` without the escape sequences of terminals, such as those for colours.

    A text with an escape character is cut after ``MAX_CLEANED`` characters. What is left of a
    sequence without an end is shown by ``printable``.
    """
    if not ESCAPE.search(text):
        return text
    return ANSI_SEQUENCE.sub("", text[:MAX_CLEANED])


def printable(text: object, limit: int = 300) -> str:
    r"""Return ``text`` as one line of at most ``limit`` characters.

    Control characters, which could steer a terminal, are written as escapes (``\x1b``).
    """
    shown = str(text)[: limit + 1]
    if not shown.isprintable():
        shown = "".join(_printable_character(character) for character in shown)
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
