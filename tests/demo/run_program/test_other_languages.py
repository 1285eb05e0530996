"""How ``demo run`` instruments programs of Node.js and Java."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from three_pillar_demo.run_program.other_languages import (
    JAVA_AGENT,
    JAVA_TOOL_OPTIONS,
    NODE_OPTIONS,
    NODE_PACKAGE,
    find_node,
    instrument_java,
    instrument_node,
)

NODE = shutil.which("node")
NPM = shutil.which("npm")
needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
REGISTER = 'console.log("registered");'
NODE_TIMEOUT_S = 60


def install_package(folder: Path) -> None:
    """Install a package with the name of the auto-instrumentations, which prints ``registered``."""
    package = folder / "node_modules" / NODE_PACKAGE
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"exports": {"./register": "./register.js"}}')
    (package / "register.js").write_text(REGISTER)


def output(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    """Return the output of ``command``, run in ``folder`` with ``variables`` added."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=NODE_TIMEOUT_S,
        check=True,
    ).stdout


@needs_node
def test_the_package_of_the_working_folder_is_loaded(tmp_path: Path) -> None:
    """Node.js loads the auto-instrumentations first, also in a child in another working folder."""
    # The user's own options are kept, and the path may contain blanks.
    assert NODE
    folder = tmp_path / 'a "quoted" folder'
    install_package(folder)
    (folder / "app.js").write_text(
        'console.log(require("child_process").execFileSync(process.execPath,'
        ' ["-p", "process.title"], {cwd: "/"}).toString());'
    )
    environment = {**os.environ, NODE_OPTIONS: "--title=mine"}
    result = instrument_node(["node", "app.js"], Path(NODE), environment, folder)
    assert (result.by, result.problem) == (NODE_PACKAGE, "")
    lines = output([NODE, "app.js"], folder, result.variables).split()
    assert lines == ["registered", "registered", "mine"]


@needs_node
@pytest.mark.skipif(NPM is None, reason="npm is not installed")
def test_a_program_behind_npm_is_instrumented(tmp_path: Path) -> None:
    """What npm starts inherits the variable, so both npm and the program load the package."""
    assert NPM
    install_package(tmp_path)
    (tmp_path / "app.js").write_text('console.log("running");')
    (tmp_path / "package.json").write_text('{"scripts": {"start": "node app.js"}}')
    node = find_node(Path(NPM).resolve(), os.environ)
    assert node
    result = instrument_node(["npm", "start"], node, os.environ, tmp_path)
    lines = output([NPM, "--silent", "start"], tmp_path, result.variables).split()
    assert lines == ["registered", "registered", "running"]


@needs_node
def test_the_package_of_the_programs_own_folder_is_found(tmp_path: Path) -> None:
    """The package may be installed beside the program instead of in the working folder."""
    assert NODE
    install_package(tmp_path / "app")
    script = tmp_path / "app" / "app.js"
    script.write_text("")
    result = instrument_node(["node", str(script)], Path(NODE), os.environ, tmp_path)
    assert str(tmp_path / "app" / "node_modules") in result.variables[NODE_OPTIONS]


@needs_node
def test_without_the_package(tmp_path: Path) -> None:
    """Where the package is missing, the program runs as it is, and one line says how to install."""
    assert NODE
    result = instrument_node(["node", "app.js"], Path(NODE), os.environ, tmp_path)
    assert not result.variables
    assert result.problem.endswith(f"npm install @opentelemetry/api {NODE_PACKAGE}")


def test_a_program_that_loads_the_package_itself(tmp_path: Path) -> None:
    """A package that the user already loads is not loaded twice."""
    loading = ["node", "--require", f"{NODE_PACKAGE}/register", "app.js"]
    environment = {NODE_OPTIONS: f"--require {NODE_PACKAGE}/register"}
    for command, variables in ((loading, {}), (["node", "app.js"], environment)):
        result = instrument_node(command, Path("/usr/bin/node"), variables, tmp_path)
        assert (result.by, result.variables) == (NODE_PACKAGE, {})


def test_programs_of_node(tmp_path: Path) -> None:
    """A program is one of Node.js by its name, or by the first line of its script."""
    node = tmp_path / "node"
    for path, text in ((node, ""), (tmp_path / "npm", "#!/usr/bin/env node\n")):
        path.write_text(text)
        path.chmod(0o755)
        assert find_node(path, {"PATH": str(tmp_path)}) == node
    assert find_node(tmp_path / "other", {"PATH": str(tmp_path)}) is None


@pytest.mark.parametrize(("name", "quote"), [("folder", ""), ("a folder", '"')])
def test_the_java_agent_of_the_working_folder(name: str, quote: str, tmp_path: Path) -> None:
    """The agent in the working folder is loaded; the user's own options are kept."""
    folder = tmp_path / name
    folder.mkdir()
    command = ["java", "-jar", "app.jar"]
    assert "put opentelemetry-javaagent.jar here" in instrument_java(command, {}, folder).problem
    (folder / JAVA_AGENT).write_bytes(b"")
    result = instrument_java(command, {JAVA_TOOL_OPTIONS: "-Xmx64m"}, folder)
    option = f"{quote}-javaagent:{folder / JAVA_AGENT}{quote}"
    assert result.variables == {JAVA_TOOL_OPTIONS: f"-Xmx64m {option}"}


def test_a_java_program_with_an_agent(tmp_path: Path) -> None:
    """A program that has an agent already, by an option or the variable, gets no second one."""
    (tmp_path / JAVA_AGENT).write_bytes(b"")
    for command, variables in (
        (["java", "-javaagent:other.jar", "-jar", "app.jar"], {}),
        (["java", "-jar", "app.jar"], {JAVA_TOOL_OPTIONS: "-javaagent:other.jar"}),
    ):
        assert not instrument_java(command, variables, tmp_path).variables
