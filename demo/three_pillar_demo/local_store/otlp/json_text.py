"""Decodes JSON text leniently: what one value has wrong must not cost the rest of the document."""

import json
import math
import re
from typing import Any

MAX_NESTING = 250
"""Lists and objects that are nested more deeply become null, if the document is too deep."""
MAX_INTEGER_DIGITS = 400
"""An integer with more digits is infinite, as for a parser of doubles."""
MARK = re.compile(r'\\.|["\[{\]}]', re.DOTALL)
"""What separates values: a quotation mark or a bracket, but not after a backslash.

Each match has one or two characters, because a pattern of whole strings would read the rest of the
document again at each quotation mark of a string that does not end.
"""


def load(content: bytes) -> Any:  # noqa: ANN401  (any JSON value)
    """Return the value of a JSON document, which may begin with a byte order mark.

    Bytes that are not UTF-8 become U+FFFD. The time is linear in the length of ``content``.

    Raises:
        ValueError: The content is not JSON.
    """
    text = content.decode("utf-8-sig", errors="replace")
    try:
        return _loads(text)
    except RecursionError:
        return _loads(_without_deep_values(text))


def _loads(text: str) -> Any:  # noqa: ANN401  (any JSON value)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python refuses to convert integers with thousands of digits
        return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else math.inf


def _without_deep_values(text: str) -> str:
    """Return ``text`` with null for each list or object below ``MAX_NESTING`` others."""
    parts = []
    depth = 0
    kept_until = 0
    is_in_string = False
    for match in MARK.finditer(text):
        mark = match[0]
        if mark == '"':
            is_in_string = not is_in_string
        elif is_in_string:
            continue
        elif mark in "[{":
            depth += 1
            if depth == MAX_NESTING + 1:
                parts.append(text[kept_until : match.start()])
        elif mark in "]}":
            if depth == MAX_NESTING + 1:
                parts.append("null")
                kept_until = match.end()
            depth -= 1
    if depth <= MAX_NESTING:
        parts.append(text[kept_until:])
    return "".join(parts)
