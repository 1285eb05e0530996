"""Tests for the trace ids that ``demo follow`` accepts: alone, in headers and in addresses."""

import uuid

import pytest

from tests.traces import TRACE
from three_pillar_demo.trace_view.trace_ids import parse_trace_id

SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    "text",
    [
        TRACE,
        TRACE.upper(),
        f" {TRACE}\n",
        str(uuid.UUID(TRACE)),
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}--00",
        f"{TRACE}-{SPAN}-1",
        f"traceparent: 00-{TRACE}-{SPAN}-01",
        f"Traceresponse:00-{TRACE}-{SPAN}-01",
        f'"00-{TRACE}-{SPAN}-01"',
        f'"trace_id": "{TRACE}"',
        f"trace_id={TRACE}",
        f"http://127.0.0.1:8080/trace/{TRACE}",
        f"http://localhost:8080/trace/{TRACE}?minutes=15#waterfall",
    ],
)
def test_a_trace_id_is_found_in_what_people_copy(text: str) -> None:
    """An id in any case, a header with or without its name, and a page address give the id."""
    assert parse_trace_id(text) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xyz",
        SPAN,
        TRACE[:-1],
        TRACE + "0",
        "0x" + TRACE,
        "0" * 32,
        f"00-{'0' * 32}-{SPAN}-01",
        "\u0966" * 32,
        f"{TRACE} {TRACE}",
        f"https://other.example/{TRACE}",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """A text without an id, with an id of another length or only zeros, is refused with advice."""
    with pytest.raises(ValueError, match="32 hex digits"):
        parse_trace_id(text)
