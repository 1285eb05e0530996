"""The environment of the components: variables for other programs of the user are left out."""

import os
from pathlib import Path

import pytest

import three_pillar_demo
from three_pillar_demo.paths import CHECKOUT
from three_pillar_demo.stack.components import BY_NAME
from three_pillar_demo.stack.environment import (
    INTERPRETER_VARIABLES,
    variables_of,
    with_absolute_paths,
)

COMPONENTS = ["checkout", "payment", "store", "web"]
OUR_FOLDER = str(Path(three_pillar_demo.__file__).parents[1])


@pytest.mark.parametrize("name", COMPONENTS)
def test_interpreter_variables_are_not_passed_on(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A component does not get variables that change how Python starts, finds modules or ends."""
    for variable in (*INTERPRETER_VARIABLES, "PYTHONPATH"):
        monkeypatch.setenv(variable, "/nowhere")
    variables = variables_of(BY_NAME[name])
    assert variables.keys() & {*INTERPRETER_VARIABLES, "PYTHONPATH"} == set()


@pytest.mark.parametrize("name", COMPONENTS)
def test_relative_paths_are_passed_on_as_absolute_ones(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A component runs in another folder, and still finds clone, modules and executables."""
    monkeypatch.chdir(Path(OUR_FOLDER).parent)
    for variable, value in {
        "DEMO_HOME": ".",
        "PYTHONPATH": f"{Path(OUR_FOLDER).name}{os.pathsep}",
        "PATH": f"bin{os.pathsep}/usr/bin{os.pathsep}",
        "GRAFANA_HOME": "g:rafana",
        "XDG_CACHE_HOME": "cache",
    }.items():
        monkeypatch.setenv(variable, value)
    here = str(Path.cwd())
    expected = {
        "DEMO_HOME": str(CHECKOUT),
        "PYTHONPATH": os.pathsep.join([OUR_FOLDER, ""]),
        "PATH": os.pathsep.join([f"{here}/bin", "/usr/bin", ""]),
        "GRAFANA_HOME": f"{here}/g:rafana",
        "XDG_CACHE_HOME": f"{here}/cache",
    }
    for variables in (variables_of(BY_NAME[name]), with_absolute_paths(os.environ)):
        assert expected.items() <= variables.items()


@pytest.mark.parametrize("name", COMPONENTS)
def test_python_path_of_the_demo_itself_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A component gets ``PYTHONPATH`` if the demo was found through it."""
    value = os.pathsep.join(["/nowhere", OUR_FOLDER])
    monkeypatch.setenv("PYTHONPATH", value)
    assert variables_of(BY_NAME[name])["PYTHONPATH"] == value
