"""The content of the wheel and of the source distribution."""

import re
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

from tests.packaging.conftest import ROOT, Built, build

PACKAGE_FOLDERS = {
    "demo/three_pillar_demo": "three_pillar_demo",
    "telemetry/three_pillars": "three_pillars",
}
"""The package folders of the repository, with their names in the wheel."""


def names(wheel: Path) -> set[str]:
    """Return the paths of all files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def requirements(wheel: Path) -> list[str]:
    """Return what a wheel depends on, as the names of packages."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(path).decode())
    return [package_name(text) for text in metadata.get_all("Requires-Dist", [])]


def package_name(requirement: str) -> str:
    """Return the name in a requirement like ``uvicorn>=0.54``."""
    return re.split(r"[^\w-]", requirement, maxsplit=1)[0]


def test_the_wheel_contains_every_file_of_both_packages(built: Built) -> None:
    """Every tracked file of both packages is in the wheel: templates, styles, schema, scenarios."""
    command = ["git", "ls-files", *PACKAGE_FOLDERS]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = set(listed.stdout.split())
    assert any(path.endswith("schema.sql") for path in tracked)
    for folder, name in PACKAGE_FOLDERS.items():
        tracked = {path.replace(f"{folder}/", f"{name}/") for path in tracked}
    assert tracked <= names(built.wheel)


def test_the_wheel_installs_no_common_name(built: Built) -> None:
    """The wheel installs the two packages and nothing else that could be imported."""
    folders = {path.partition("/")[0] for path in names(built.wheel)}
    (metadata,) = folders - {"three_pillars", "three_pillar_demo"}
    assert metadata.endswith(".dist-info")


def test_the_wheel_of_the_source_distribution_is_the_same(built: Built, tmp_path: Path) -> None:
    """A wheel that is built from the source distribution contains the same files."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert {path.name for path in source.iterdir()} >= {"LICENSE", "README.md", "demo", "telemetry"}
    assert not (source / "tests").exists()
    build(source, tmp_path / "dist", "wheel")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert names(wheel) == names(built.wheel)


def test_nothing_of_this_repository_is_asked_of_an_index(built: Built) -> None:
    """The wheel depends on no package of this repository: an index could hold a foreign one."""
    projects = [
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["name"]
        for folder in (".", "telemetry")
    ]
    assert not set(projects) & set(requirements(built.wheel))


def test_the_wheel_depends_on_what_the_library_depends_on(built: Built) -> None:
    """The wheel, which contains the library, has all its dependencies, with the same versions."""
    library = tomllib.loads((ROOT / "telemetry" / "pyproject.toml").read_text())["project"]
    needed = library["dependencies"] + library["optional-dependencies"]["uvicorn"]
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(needed) <= set(declared)
    assert {package_name(requirement) for requirement in needed} <= set(requirements(built.wheel))
