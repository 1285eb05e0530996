"""A small picture of all rows of a large trace, of which each part leads to its rows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from three_pillar_demo.web.waterfall_row import WaterfallRow

MIN_ROWS = 30
"""The number of rows from which a trace has a minimap: more than a screen shows."""
MAX_BANDS = 20
"""The number of parts of a minimap that are links."""
DOT_WIDTH = 4.0
"""The width of a log record, in thousandths of the width of the minimap."""


@dataclass(frozen=True)
class Band:
    """Some rows in sequence: the position of the first, from 0, their number, and what they are.

    ``key`` is that of the first row, or of the first failed one, and ``label`` says what is there.
    """

    first: int
    count: int
    key: str
    label: str


@dataclass(frozen=True)
class Minimap:
    """The minimap of a trace: one line for each of ``row_count`` rows, from top to bottom.

    Attributes:
        row_count: The number of rows, which is the height of the picture.
        paths: The lines of each CSS class of services, as the data of an SVG path. Those of failed
            rows have the class ``bad``, and come last.
        bands: The parts that are links.
    """

    row_count: int
    paths: list[tuple[str, str]]
    bands: list[Band]


def minimap(rows: Sequence[WaterfallRow]) -> Minimap | None:
    """Return the minimap of the rows that are drawn; None if one screen shows them all."""
    if len(rows) < MIN_ROWS:
        return None
    lines = defaultdict[str, list[str]](list)
    for position, row in enumerate(rows):
        x, width = row.bar or (row.x, DOT_WIDTH)
        css_class = "bad" if row.error else row.css_class
        lines[css_class].append(f"M{x:.0f} {position + 0.5}h{max(width, DOT_WIDTH):.0f}")
    # What is drawn last lies above the others.
    ordered = sorted(lines.items(), key=lambda item: item[0] == "bad")
    paths = [(css_class, "".join(parts)) for css_class, parts in ordered]
    size = -(-len(rows) // MAX_BANDS)
    bands = [_band(rows, first, size) for first in range(0, len(rows), size)]
    return Minimap(len(rows), paths, bands)


def _band(rows: Sequence[WaterfallRow], first: int, size: int) -> Band:
    band_rows = list(islice(rows, first, first + size))
    failed = [row for row in band_rows if row.error]
    label = f"Rows {first + 1:,} to {first + len(band_rows):,}"
    if failed:
        label += f", {len(failed):,} failed"
    return Band(first, len(band_rows), (failed or band_rows)[0].key, label)
