"""Read the configuration of Grafana: the provisioned data sources and the dashboards."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from three_pillar_demo.paths import ROOT
from three_pillar_demo.verify.expressions import BrokenLinkError, fail_without

GRAFANA = ROOT / "grafana"
DATA_SOURCES = GRAFANA / "provisioning" / "datasources" / "datasources.yaml"
DASHBOARDS = GRAFANA / "dashboards"
PANEL = "Error ratio"
"""The panel that answers the question behind the link from a log record to metrics."""

DataSource = dict[str, Any]
Link = dict[str, str]


class DataSources:
    """The data sources by uid, with ``type`` and ``jsonData`` as Grafana reads them."""

    def __init__(self, by_uid: dict[str, DataSource]) -> None:
        self.by_uid = by_uid

    @classmethod
    def from_file(cls, path: Path = DATA_SOURCES) -> "DataSources":
        """Read the provisioning file; Grafana reads ``$$`` in it as ``$``."""
        content = yaml.safe_load(path.read_text().replace("$$", "$"))
        return cls({source["uid"]: source for source in content["datasources"]})

    def setting(self, uid: str, key: str) -> Any:  # noqa: ANN401  (YAML)
        """Return one setting of a data source.

        Raises:
            BrokenLinkError: The data source does not exist or has no such setting.
        """
        try:
            return self.by_uid[uid]["jsonData"][key]
        except KeyError as error:
            raise BrokenLinkError(f"{key} is not configured for {uid}") from error

    def require_type(self, uid: str, type_name: str) -> None:
        """Check the type of a data source.

        Raises:
            BrokenLinkError: The data source does not exist or has another type.
        """
        if self.by_uid.get(uid, {}).get("type") != type_name:
            raise BrokenLinkError(f"leads to {uid}, which is not a {type_name} data source")


def first_link(links: list[Link], condition: Callable[[Link], bool]) -> Link:
    """Return the first link that fulfils the condition.

    Raises:
        BrokenLinkError: There is none.
    """
    for link in links:
        if condition(link):
            return link
    return fail_without("such link")


def panel_expressions(path: str) -> list[str]:
    """Return the PromQL expressions about a service in ``PANEL`` of the dashboard at ``path``.

    Raises:
        BrokenLinkError: The path is not that of a dashboard with such a panel.
    """
    uid = path.removeprefix("/d/").split("/")[0]
    file = DASHBOARDS / f"{uid}.json"
    if not path.startswith("/d/") or not file.exists():
        fail_without(f"panel {PANEL!r} at {path}")
    expressions = [
        target["expr"]
        for panel in json.loads(file.read_text())["panels"]
        if panel["title"] == PANEL
        for target in panel["targets"]
        if "$service" in target["expr"]
    ]
    return expressions or fail_without(f"panel {PANEL!r} at {path}")
