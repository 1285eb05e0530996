"""Tests that text of others is shown without what it would do to a terminal."""

import time

import pytest

from three_pillar_demo.terminal import MAX_CLEANED, printable, without_ansi


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [31m text", "plain [31m text"),
        ("\x1b[31mred\x1b[0m and \x1b[1;38;5;208mbold\x1b[m", "red and bold"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1b[2K\x1b[1Gline\x1b[?25h", "line"),
        (
            "\x1b]8;;http://a.test/\x1b\\link\x1b]8;;\x1b\\ and \x1b]0;title\x07text",
            "link and text",
        ),
        ("\x1bPq#0;\x1b\\sixel", "sixel"),
        ("\x1b(Bcharset\x1b7\x1b8\x1bc", "charset"),
        ("cut off \x1b[3", "cut off \x1b[3"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_escape_sequences_are_removed(text: str, shown: str) -> None:
    """Colours, cursor movements, links and titles leave only the text between them."""
    assert without_ansi(text) == shown
    assert "\x1b" not in printable(without_ansi(text))


def test_a_text_of_escapes_takes_little_time() -> None:
    """A megabyte of beginnings without an end is cut, and cleaned in linear time."""
    start = time.monotonic()
    for unit in ("\x1b[", "\x1b]", "\x1b[1;", "\x9b\x1bP", "\x1b (("):
        assert len(without_ansi("".ljust(2**20, unit[0]).replace(unit[0], unit))) <= MAX_CLEANED
    assert time.monotonic() - start < 30
