"""The values for the official charts, and what they are compared with."""

from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.manifests import FOLDER, literals

VALUES = {
    path.stem: yaml.safe_load(path.read_text()) for path in (FOLDER / "values").glob("*.yaml")
}
"""The values of each chart by the name of its release."""

CONFIG = {
    "loki": yaml.safe_load(Path("config/loki.yaml").read_text()),
    "tempo": yaml.safe_load(Path("config/tempo.yaml").read_text()),
    "prometheus": yaml.safe_load(Path("prometheus.yml").read_text()),
}
"""The configuration of the other modes."""

WRITE = literals("base", "large")["backends-write"]
READ = literals("base", "large")["backends-read"]


def at(content: Any, path: str) -> Any:  # noqa: ANN401  (YAML)
    """Return the value at a dotted ``path``."""
    for part in path.split("."):
        content = content[part]
    return content
