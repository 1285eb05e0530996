"""Tempo and Loki, under AGPL, are neither fetched nor built here: a person puts the official ones on PATH."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from three_pillar_demo.stack.binaries import numbers, version_of


@dataclass(frozen=True)
class ExternalBinary:
    """An executable that a person brings: ``version`` is known to work, ``releases`` is where its makers offer it."""

    name: str
    version: str
    releases: str

    @property
    def path(self) -> Path | None:
        """The one on PATH, whatever its version."""
        found = shutil.which(self.name)
        return Path(found) if found else None

    def doubt(self) -> str:
        """Why the one on PATH may not understand our config file; empty when it differs in its patch number at most."""
        has = version_of(self.name)
        if numbers(has)[:2] == numbers(self.version)[:2]:
            return ""
        return f"{self.name} on PATH is {has or 'of a version it does not tell'}; known to work: {self.version}"


TEMPO = ExternalBinary("tempo", "3.0.3", "https://github.com/grafana/tempo/releases")
LOKI = ExternalBinary("loki", "3.7.6", "https://github.com/grafana/loki/releases")
