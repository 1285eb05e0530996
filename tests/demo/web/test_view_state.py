"""Tests that every state of the page has an address, and that addresses are validated."""

from urllib.parse import parse_qs

import pytest

from three_pillar_demo.web.view_state import ViewState


@pytest.mark.parametrize(
    "state",
    [
        ViewState(),
        ViewState(minutes=15, service="payment", severity="ERROR", text="a&b=c ü <b>"),
        ViewState(minutes=60, failed=True, still=True, tour=0),
        ViewState(tour=5),
        ViewState(fold="all.00f067aa0ba902b7", adjust=True),
        ViewState(search='a="b c" d', slower=0.25, before=1_795_995_753_578_575_123),
    ],
)
def test_address_leads_back_to_its_state(state: ViewState) -> None:
    """Parsing the query string of a state gives the same state."""
    parameters = parse_qs(state.query().removeprefix("?"))
    query = {name: values[0] for name, values in parameters.items()}
    assert ViewState.parse(query) == state


def test_default_state_has_an_empty_query() -> None:
    """Default values, blank values and unknown parameters do not appear in an address."""
    blank = {"minutes": "", "text": " ", "severity": "", "foreign": "1"}
    assert ViewState().query() == ""
    assert ViewState.parse(blank) == ViewState()
    assert ViewState(minutes=15).query(minutes=5, tour=3) == "?tour=3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minutes", "7"),
        ("minutes", "5; DROP"),
        ("service", "x" * 256),
        ("severity", "FATAL"),
        ("text", "x" * 201),
        ("failed", "perhaps"),
        ("adjust", "perhaps"),
        ("fold", "x" * 4001),
        ("tour", "6"),
        ("tour", "-1"),
        ("search", "x" * 201),
        ("slower", "-1"),
        ("slower", "nan"),
        ("slower", "inf"),
        ("before", "-1"),
        ("before", str(2**63)),
    ],
)
def test_invalid_value_is_refused(name: str, value: str) -> None:
    """An invalid value is refused with the allowed ones, and is not repeated."""
    with pytest.raises(ValueError, match=f"^{name} must be ") as refused:
        ViewState.parse({name: value})
    assert value not in str(refused.value) or len(value) < 3
