"""Tests that the text of the search field is understood as the visitor means it."""

import pytest

from three_pillar_demo.web.request_search import Search, parse

ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Search()),
        ("  ", Search()),
        ("declined", Search(text="declined")),
        ("GET  /products", Search(text="GET /products")),
        (ID, Search(trace_id=ID)),
        (f" {ID.upper()} ", Search(trace_id=ID)),
        (f"00-{ID}-b7ad6b7169203331-01", Search(trace_id=ID)),
        (ID[:31], Search(text=ID[:31])),
        ("card.network=visa", Search(attributes=(("card.network", "visa"),))),
        (
            'message="no answer" late order.id=a=b',
            Search(attributes=(("message", "no answer"), ("order.id", "a=b")), text="late"),
        ),
        ('empty=""', Search(attributes=(("empty", ""),))),
        ("a= b", Search(text="a= b")),
        ("=b", Search(text="=b")),
        ('"unbalanced', Search(text='"unbalanced')),
    ],
)
def test_search_text_is_understood(text: str, expected: Search) -> None:
    """A text is a trace id in any case, or pairs of a name and a value among other words."""
    assert parse(text) == expected
