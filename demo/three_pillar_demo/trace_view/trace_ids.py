"""Finds the trace id in what a person has copied: an id, a header, or the address of a page."""

import re

from three_pillar_demo.terminal import printable

ID = "(?P<id>[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
"""The pattern of a trace id: 32 hex digits, or the same written as a UUID."""
HEADER = f"(?:[0-9a-f]{{2}}-)?{ID}(?:-[0-9a-f]{{0,16}}(?:-[0-9a-f]{{0,2}})?)?"
"""The pattern of an id, alone or in a header: a version before it, a span id and flags after it."""
QUOTE = "[\"']?"
PATTERNS = (
    rf"(?:{QUOTE}[\w-]*trace[\w-]*{QUOTE}\s*[:=]\s*)?{QUOTE}{HEADER}{QUOTE}",
    rf"https?://\S*/trace/{ID}(?:\.\w+)?(?:[/?#]\S*)?",
)
"""What is accepted: an id or a header, with or without its name, and the address of a page.

``traceparent`` and ``traceresponse`` are W3C's headers; a ``traceresponse`` may have no span id.
"""


def parse_trace_id(text: str) -> str:
    """Return the trace id in ``text``, as 32 lower-case hex digits.

    ``text`` is an id in any case, a ``traceparent`` or ``traceresponse`` header, a field such as
    ``"trace_id": "..."``, or the address of the page of a request.

    Raises:
        ValueError: ``text`` is something else; the message says what to type.
    """
    for pattern in PATTERNS:
        match = re.fullmatch(pattern, text.strip(), re.IGNORECASE | re.ASCII)
        if match:
            trace_id = match["id"].replace("-", "").lower()
            if int(trace_id, 16):
                return trace_id
    raise ValueError(
        f"invalid trace id {printable(text, 60)!r}: it has 32 hex digits, as in a traceparent or "
        "traceresponse header, or in every answer of checkout. To see the newest requests: "
        "demo tail. To follow the newest failure: demo follow --last-error"
    )
