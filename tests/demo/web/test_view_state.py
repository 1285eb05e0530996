"""The page's states: each has an address, and an address is checked."""

from urllib.parse import parse_qs

import pytest

from three_pillar_demo.web.view_state import View


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View(minutes=15, service="payment", severity="ERROR", text="a&b=c ü <b>"),
        View(minutes=60, failed=True, still=True, tour=0),
        View(tour=5),
    ],
)
def test_an_address_is_a_state(view: View) -> None:
    """Whatever is looked at, its address leads back to it."""
    said = {name: values[0] for name, values in parse_qs(view.query().removeprefix("?")).items()}
    assert View.parse(said) == view


def test_a_plain_state_has_a_plain_address() -> None:
    """What is as by default is not in the address, nor what a form left empty."""
    assert View().query() == ""
    assert View.parse({"minutes": "", "text": " ", "severity": "", "foreign": "1"}) == View()
    assert View(minutes=15).query(minutes=5, tour=3) == "?tour=3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minutes", "7"),
        ("minutes", "5; DROP"),
        ("service", "a b"),
        ("service", "x" * 65),
        ("severity", "FATAL"),
        ("text", "x" * 101),
        ("failed", "perhaps"),
        ("tour", "6"),
        ("tour", "-1"),
    ],
)
def test_what_is_not_allowed_is_refused(name: str, value: str) -> None:
    """A bad value is refused with what is allowed, and is not repeated."""
    with pytest.raises(ValueError, match=f"^{name} is ") as refused:
        View.parse({name: value})
    assert value not in str(refused.value) or len(value) < 3
