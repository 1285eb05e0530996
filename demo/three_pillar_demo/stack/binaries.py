"""Finds the binaries that ``make binaries`` builds, in their pinned versions.

``native/build.py`` builds them. The launcher only looks for them.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from three_pillar_demo.paths import ROOT

NATIVE = ROOT / "native"
"""The folder of the build recipes, which has one folder for each binary."""
VERSION_TIMEOUT_S = 10
VERSION = re.compile(r"(?P<version>\d+\.\d+(\.\d+)?)")


@dataclass(frozen=True)
class Binary:
    """An executable that ``native/build.py`` builds from a recipe in ``native/``.

    Attributes:
        recipe: The folder below ``native/`` that holds its recipe.
        version: The pinned version. An executable of another version is not used.
        name: The name of the executable in the output folder.
        name_on_path: The name to look for on PATH; an empty string stands for ``name``.
    """

    recipe: str
    version: str
    name: str
    name_on_path: str = ""

    def folder(self) -> Path:
        """Return the folder into which this version of the binary is built from its recipe.

        The folder name contains a digest of the recipe. So after a change of the recipe, an
        executable built from the old recipe is not found.
        """
        digest = hashlib.sha256()
        for file in sorted((NATIVE / self.recipe).iterdir()):
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
        return output_folder() / f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


# On PATH, `otelcol` is the core distribution of the Collector, which has no file_storage extension.
OTELCOL = Binary("collector", "0.159.0", "otelcol", name_on_path="otelcol-contrib")
PROMETHEUS = Binary("prometheus", "3.14.0", "prometheus")
# The newest version whose Go module contains its built web pages. Later versions do not compile
# from the module proxy alone.
ALERTMANAGER = Binary("alertmanager", "0.31.1", "alertmanager")

THANOS = Binary("thanos", "0.42.4", "thanos")
"""It keeps the metrics of the cluster."""
VERSITYGW = Binary("versitygw", "1.8.0", "versitygw")
"""An object store with the interface of S3, which keeps its objects as files."""
KAFKA = Binary("kafka", "4.4.0", "kafka")
"""A folder of Java archives, and a script that starts Kafka from them."""


def output_folder() -> Path:
    """Return the folder of all built binaries, which all checkouts of this user share."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "three-pillar-demo"


def find(binary: Binary) -> Path | None:
    """Return the executable of ``binary``, or None if it has to be built.

    An executable of the pinned version on PATH is preferred to the one in the output folder.
    """
    on_path = shutil.which(binary.name_on_path or binary.name)
    if on_path and version_of(on_path) == binary.version:
        return Path(on_path)
    return find_built(binary)


def find_built(binary: Binary) -> Path | None:
    """Return the executable of ``binary`` in the output folder, or None if it has to be built."""
    built = binary.folder() / binary.name
    return built if built.exists() else None


def version_of(
    executable: str | Path, argument: str = "--version", pattern: re.Pattern[str] = VERSION
) -> str:
    """Return the first version number that a program prints when run with ``argument``.

    ``pattern`` finds it, as its group ``version``. The result is an empty string if the program
    cannot be run or prints no version number.
    """
    try:
        completed = subprocess.run(  # noqa: S603  (a program that the user has put on PATH)
            [executable, argument],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    found = pattern.search(completed.stdout + completed.stderr)
    return found["version"] if found else ""


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version for comparison, such as ``(3, 14, 0)`` for "3.14.0"."""
    return tuple(int(number) for number in version.split(".") if number)
