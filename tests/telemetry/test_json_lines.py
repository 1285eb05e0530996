"""Events as lines of JSON: as Python's encoder writes them."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from three_pillars import json_lines
from three_pillars.json_lines import to_json

VALUES = st.one_of(
    st.text(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(), st.integers(), max_size=2),
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=8))
@example({"a": float("inf"), "b": float("nan")})
@example({"a": True, "b": None})
def test_a_line_is_that_of_python(event: dict[str, object]) -> None:
    """Whatever the names and values of an event are, its line is that of ``json.dumps``."""
    assert to_json(event) == json.dumps(event)


def test_an_ordinary_event_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event with texts and numbers is written without Python's encoder of nested values."""
    event = {"event": "GET /é 200", "status": 200, "seconds": 0.25}
    expected = json.dumps(event)
    monkeypatch.setattr(json_lines, "json", None)
    assert to_json(event) == expected
