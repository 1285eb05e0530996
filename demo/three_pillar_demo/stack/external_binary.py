"""Tempo and Loki: binaries that the user installs.

Both are under the AGPL, so this project neither downloads nor builds their code. The user puts the
official executables on PATH.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from three_pillar_demo.stack.binaries import version_numbers, version_of


@dataclass(frozen=True)
class ExternalBinary:
    """An executable that the user puts on PATH.

    Attributes:
        name: The name of the executable.
        version: The version that is known to work with the configuration files of this project.
        releases_url: The page where its vendor publishes releases.
    """

    name: str
    version: str
    releases_url: str

    @property
    def path(self) -> Path | None:
        """The path of the executable on PATH, in any version; None if there is none."""
        on_path = shutil.which(self.name)
        return Path(on_path) if on_path else None

    def version_warning(self) -> str:
        """Return a warning if the executable on PATH has another version than ``version``.

        Returns:
            The warning, or an empty string if major and minor version are those of ``version``.
        """
        installed = version_of(self.name)
        if version_numbers(installed)[:2] == version_numbers(self.version)[:2]:
            return ""
        installed = installed or "of unknown version"
        return f"{self.name} on PATH is {installed}; known to work: {self.version}"


TEMPO = ExternalBinary("tempo", "3.0.3", "https://github.com/grafana/tempo/releases")
LOKI = ExternalBinary("loki", "3.7.6", "https://github.com/grafana/loki/releases")
