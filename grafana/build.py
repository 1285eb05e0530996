"""Writes the dashboards' JSON: ``python -m grafana.build``, or ``make dashboards``."""

import json
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.checkout import checkout
from grafana.one_request import one_request
from grafana.pipeline import pipeline
from grafana.slo import slo

FOLDER = Path(__file__).parent / "dashboards"


def files() -> Iterator[tuple[Path, str]]:
    """Each dashboard's file and what belongs into it; panels numbered in reading order."""
    for board in (checkout(), one_request(), pipeline(), slo()):
        found = board.build()
        for number, panel in enumerate(found.panels or [], start=1):
            panel.id_val = number
        yield (
            FOLDER / f"{found.uid}.json",
            json.dumps(found, cls=JSONEncoder, indent=1, sort_keys=True) + "\n",
        )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, content in files():
        path.write_text(content)
