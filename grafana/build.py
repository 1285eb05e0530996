"""Write the JSON of the dashboards: ``python -m grafana.build``, or ``make dashboards``."""

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
    """Yield the path and the JSON text of each dashboard.

    Panels get the ids 1, 2 and so on, in reading order.
    """
    for builder in (checkout(), one_request(), pipeline(), slo()):
        dashboard = builder.build()
        for number, panel in enumerate(dashboard.panels or [], start=1):
            panel.id_val = number
        yield (
            FOLDER / f"{dashboard.uid}.json",
            json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True) + "\n",
        )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, content in files():
        path.write_text(content)
