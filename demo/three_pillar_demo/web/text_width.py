"""Shortens texts to a width in a drawing, where no browser breaks or hides what is too long."""

import unicodedata

from three_pillar_demo.terminal import printable

NARROW = frozenset("iljftrI1.,:;'|!()[]{}/ -")
BROAD = frozenset("mwMW@%&…")
NARROW_WIDTH = 5.0
NORMAL_WIDTH = 7.8
BROAD_WIDTH = 12.5
FULL_WIDTH = 13.0
"""The widths of characters in 12 px of a bold system font, in pixels, at the most."""
MAX_LENGTH = 64
"""The number of characters that are measured; no drawing has room for more."""


def fitting(text: str, width: float) -> str:
    """Return ``text`` without control characters, cut with an ellipsis if it is wider than that."""
    shown = printable(text, MAX_LENGTH)
    if sum(map(_width, shown)) <= width:
        return shown
    room = width - _width("…")
    end = 0
    for character in shown:
        room -= _width(character)
        if room < 0:
            break
        end += 1
    return f"{shown[:end].rstrip()}…"


def _width(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return FULL_WIDTH
    if character in NARROW:
        return NARROW_WIDTH
    is_broad = character in BROAD or (character.isupper() or not character.isascii())
    return BROAD_WIDTH if is_broad else NORMAL_WIDTH
