"""Read the configuration of Grafana: the provisioned data sources and the dashboards."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from three_pillar_demo.paths import ROOT
from three_pillar_demo.verify.expressions import BrokenLinkError, raise_missing

GRAFANA = ROOT / "grafana"
DATA_SOURCES = GRAFANA / "provisioning" / "datasources" / "datasources.yaml"
"""The file with the provisioned data sources."""
DASHBOARDS = GRAFANA / "dashboards"
"""The folder with one JSON file for each dashboard; the file is named ``UID.json``."""
ERROR_RATIO_PANEL = "Error ratio"
"""The title of the panel that the link from a log record to metrics is meant to show."""

DataSource = dict[str, Any]
"""The configuration of one data source."""
Link = dict[str, str]
"""The configuration of one link, such as a derived field or an exemplar destination."""


class DataSources:
    """The provisioned data sources of Grafana: the configuration of each, by its uid."""

    def __init__(self, by_uid: dict[str, DataSource]) -> None:
        self.by_uid = by_uid

    @classmethod
    def from_file(cls, path: Path = DATA_SOURCES) -> "DataSources":
        """Read the provisioning file at ``path``, with ``$$`` read as ``$``, as Grafana does."""
        content = yaml.safe_load(path.read_text().replace("$$", "$"))
        return cls({source["uid"]: source for source in content["datasources"]})

    def setting(self, uid: str, key: str) -> Any:  # noqa: ANN401  (YAML)
        """Return the value of ``key`` in the ``jsonData`` of the data source ``uid``.

        Raises:
            BrokenLinkError: The data source does not exist or has no such setting.
        """
        try:
            return self.by_uid[uid]["jsonData"][key]
        except KeyError as error:
            raise BrokenLinkError(f"{key} is not configured for {uid}") from error

    def require_type(self, uid: str, type_name: str) -> None:
        """Check that the data source ``uid`` has the type ``type_name``, such as ``tempo``.

        Raises:
            BrokenLinkError: The data source does not exist or has another type.
        """
        if self.by_uid.get(uid, {}).get("type") != type_name:
            raise BrokenLinkError(f"leads to {uid}, which is not a {type_name} data source")


def first_link(links: list[Link], condition: Callable[[Link], bool]) -> Link:
    """Return the first of ``links`` for which ``condition`` returns True.

    Raises:
        BrokenLinkError: There is no such link.
    """
    for link in links:
        if condition(link):
            return link
    return raise_missing("link")


def panel_expressions(path: str) -> list[str]:
    """Return the PromQL expressions of ``ERROR_RATIO_PANEL`` that use the variable ``$service``.

    ``path`` is the URL path of the dashboard: ``/d/UID`` or ``/d/UID/NAME``.

    Raises:
        BrokenLinkError: There is no such dashboard, or the dashboard has no such expression.
    """
    uid = path.removeprefix("/d/").split("/")[0]
    file = DASHBOARDS / f"{uid}.json"
    if not path.startswith("/d/") or not file.exists():
        raise_missing(f"panel {ERROR_RATIO_PANEL!r} at {path}")
    expressions = [
        target["expr"]
        for panel in json.loads(file.read_text())["panels"]
        if panel["title"] == ERROR_RATIO_PANEL
        for target in panel["targets"]
        if "$service" in target["expr"]
    ]
    return expressions or raise_missing(f"panel {ERROR_RATIO_PANEL!r} at {path}")
