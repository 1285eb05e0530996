"""Tests of the style sheet that need no browser."""

import re

from three_pillar_demo.web.page_templates import WEB_FOLDER

STYLE_SHEET = (WEB_FOLDER / "static" / "page.css").read_text(encoding="utf-8")
OF_WIDTH = re.compile(r"@(?:media|container) \([^{]*width[^{]*\{(.*?)\n\}", re.DOTALL)
"""The rules for windows or containers of some width."""
OF_COLOUR = re.compile(r"^\s*([\w-]*color|background|fill|stroke|opacity|--[\w-]+):", re.MULTILINE)


def test_no_colour_depends_on_the_width() -> None:
    """Contrast that is measured in a window of one width is that of all widths."""
    blocks = OF_WIDTH.findall(STYLE_SHEET)
    assert len(blocks) >= 5
    assert [block for block in blocks if OF_COLOUR.search(block)] == []
