"""The table of links in docs/explanation/wiring.md names existing files and settings."""

import re
from pathlib import Path

import pytest

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in Path("docs/explanation/wiring.md").read_text().splitlines()
    if re.match(r"\| (?!hop |--)", line)
]


def test_each_link_has_a_row() -> None:
    """The table has a row for each of the six links between the three pillars."""
    links = {row[0] for row in ROWS}
    assert {
        "exemplar -> trace",
        "exemplar -> logs",
        "trace -> logs",
        "trace -> metrics",
        "log -> trace",
        "log -> metrics",
    } <= links


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_setting_is_in_the_file(row: list[str]) -> None:
    """Each row has a setting that its file contains, the effect if it is missing, and a check."""
    _link, file, setting, effect, check = row
    assert setting.strip("`") in Path(file.strip("`")).read_text()
    assert effect
    assert check
