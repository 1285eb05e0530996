"""What the code of the two packages imports, compared with what their installation brings."""

import ast
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.conftest import ROOT

OWN = {"three_pillars", "three_pillar_demo", "services"}
"""The packages of this repository; the wheel of the demo contains the library too."""


def normalised(name: str) -> str:
    """Return the name of a package as an index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies(requirements: list[str], extras: set[str]) -> Iterator[Requirement]:
    """Yield the requirements that hold on this machine, with the given extras."""
    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        if not marker or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


def installed_with(project_folder: Path) -> set[str]:
    """Return the names of all packages that an installation of a project and its extras brings."""
    project = tomllib.loads((project_folder / "pyproject.toml").read_text())["project"]
    requirements = list(project["dependencies"])
    for extra in project.get("optional-dependencies", {}).values():
        requirements += extra
    brought: set[tuple[str, frozenset[str]]] = set()
    waiting = list(dependencies(requirements, set()))
    while waiting:
        requirement = waiting.pop()
        package = (normalised(requirement.name), frozenset(requirement.extras))
        if package not in brought:
            brought.add(package)
            waiting += dependencies(requires(requirement.name) or [], requirement.extras)
    return {name for name, _ in brought}


@cache
def owners() -> dict[Path, str]:
    """Return the installed packages by the paths of their modules."""
    return {
        Path(str(installed.locate_file(file))): normalised(installed.metadata["Name"])
        for installed in distributions()
        for file in installed.files or ()
        if file.suffix in {".py", ".so"}
    }


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of each module that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def owner(module: str) -> str:
    """Return the installed package that has a module; "" for a name that is no module."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return ""  # `from module import name`, where the name is no module
    return owners().get(Path(spec.origin), "") if spec and spec.origin else ""


@pytest.mark.parametrize(
    ("project_folder", "package"),
    [(".", "demo/three_pillar_demo"), ("telemetry", "telemetry/three_pillars")],
)
def test_every_package_that_is_imported_is_installed(project_folder: str, package: str) -> None:
    """The code imports only packages that its own installation brings, and no other ones."""
    imported: dict[str, str] = {}
    for path in (ROOT / package).rglob("*.py"):
        for module in imports(path):
            if module.partition(".")[0] not in OWN | sys.stdlib_module_names:
                imported[module] = str(path.relative_to(ROOT))
    brought = installed_with(ROOT / project_folder)
    found = {module: owner(module) for module in imported}
    assert len(set(found.values())) > 10
    assert {
        f"{module} of {name}, in {imported[module]}"
        for module, name in found.items()
        if name and name not in brought
    } == set()
