"""Reads the text of the search field for requests: words, attributes, or a trace id."""

import re
from typing import NamedTuple

TRACE_ID = re.compile(r"(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")
"""A trace id in lower case, alone or in the value of a ``traceparent`` header."""
ATTRIBUTE = re.compile(r'([^\s="]+)=(?:"([^"]*)"|(\S+))')
"""``NAME=VALUE``, with double quotes around a value that has blanks."""


class Search(NamedTuple):
    """What a visitor searches for.

    Attributes:
        trace_id: The trace id, in lower case; empty if the text is something else.
        attributes: The pairs of a name and a value.
        text: The words that are no attributes, with one blank between them.
    """

    trace_id: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    text: str = ""


def parse(text: str) -> Search:
    """Return what the text in the search field means.

    Every text means something, so there are no errors.
    """
    trace_id = TRACE_ID.fullmatch(text.strip().lower())
    if trace_id:
        return Search(trace_id=trace_id[1])
    attributes = tuple(
        (match[1], match[3] if match[2] is None else match[2]) for match in ATTRIBUTE.finditer(text)
    )
    words = ATTRIBUTE.sub(" ", text).split()
    return Search(attributes=attributes, text=" ".join(words))
