"""The Makefile: it sets up the environment, and builds binaries before they are needed."""

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def dry_run(*arguments: str, **env: str) -> str:
    """Return the shell commands that ``make`` would run, without running them."""
    command = ["make", "--dry-run", *arguments]
    completed = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout


@pytest.mark.parametrize(("dont_write_bytecode", "compiles"), [("", False), ("1", True)])
def test_setup_compiles_where_python_may_not(dont_write_bytecode: str, *, compiles: bool) -> None:
    """The set-up compiles all modules if Python is configured not to write bytecode later."""
    # -W: as if the lock file had just changed.
    commands = dry_run(
        "-W",
        "requirements/runtime.lock",
        ".venv/.ready",
        PYTHONDONTWRITEBYTECODE=dont_write_bytecode,
    )
    assert commands.count("--require-hashes") == 4  # Two lock files, with uv or with pip.
    assert commands.count("--compile-bytecode") == (2 if compiles else 0)
    assert commands.count("--no-compile") == (0 if compiles else 2)


def test_tests_are_compiled_before_their_processes_start() -> None:
    """The tests are compiled once after each set-up, and not by each of the test processes."""
    commands = dry_run("-W", "requirements/dev.lock", "test").splitlines()
    [installation] = [n for n, line in enumerate(commands) if "if command -v uv" in line]
    [compilation] = [n for n, line in enumerate(commands) if "pytest -qq --collect-only" in line]
    [tests] = [n for n, line in enumerate(commands) if "pytest -n" in line]
    assert installation < compilation < tests


def test_python_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set-up names the interpreter several times, and looks for it once: that takes 0.1 s."""
    monkeypatch.delenv("PYTHON", raising=False)  # it would be used without a search
    searches = tmp_path / "searches"
    (tmp_path / "python3").write_text(f"#!/bin/sh\necho search >> {searches}\n")
    (tmp_path / "python3").chmod(0o755)
    commands = dry_run(
        "-W",
        "requirements/runtime.lock",
        ".venv/.ready",
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    )
    assert commands.count('"python3"') > 1
    assert searches.read_text().splitlines() == ["search"]


@pytest.mark.parametrize("verb", ["up-full", "test-full", "bench"])
def test_binaries_are_built_before_they_are_needed(verb: str) -> None:
    """A make verb that uses real backends runs the build script once, and before them."""
    assert dry_run("binaries").count("-m native.build") == 1
    commands_before, commands_after = dry_run(verb).split("-m native.build\n")
    assert "demo up" not in commands_before
    assert re.search(r"demo up --full|STACK=full|bench\.collector", commands_after)


@pytest.mark.parametrize("verb", ["setup", "demo", "up", "test", "test-fast"])
def test_local_mode_needs_no_binaries(verb: str) -> None:
    """A make verb that needs only Python does not run the build script."""
    assert "native.build" not in dry_run(verb)


def test_api_server_is_built_before_it_is_needed() -> None:
    """The tests of the manifests build the API server first, and no other verb needs it."""
    commands_before, commands_after = dry_run("test-kubernetes").split(
        "-m native.build etcd kubernetes\n"
    )
    assert "pytest" not in commands_before
    assert "pytest tests/kubernetes" in commands_after
    for verb in ("test", "test-fast"):
        assert "not kubernetes" in dry_run(verb)


# --- A clone that was renamed or copied, and the variables of the caller's shell ---

FOLDER_NAMES = ["plain", "with a blank", "it's", 'dou"ble', "näme", "dollar$HOME"]
SCRIPT = "import clone_folder\nprint('the code of', clone_folder.__file__)\n"


def small_clone(folder: Path) -> Path:
    """Make a folder with the Makefile and a small environment, as ``make setup`` leaves it.

    Its command ``demo`` prints from which folder it imports a module of an editable installation.
    """
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "requirements/relocate.py", folder / "requirements")
    for name in ("requirements/runtime.lock", "requirements/build.lock", "pyproject.toml"):
        (folder / name).touch()
    environment = folder / ".venv"
    venv.create(environment, symlinks=True)
    (environment / "bin/demo").write_text(f"#!{environment}/bin/python\n{SCRIPT}")
    (environment / "bin/demo").chmod(0o755)
    (folder / "clone_folder.py").touch()
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "_demo.pth").write_text(f"{folder}\n")
    (site_packages / "demo-1.dist-info").mkdir()
    url = site_packages / "demo-1.dist-info/direct_url.json"
    url.write_text(json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}}))
    (environment / ".ready").touch()
    return folder


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``make`` in ``folder`` to its end."""
    # `make test` sets these, with which a nested make prints the folders that it enters.
    of_make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    inherited = {name: value for name, value in os.environ.items() if name not in of_make}
    command = ["make", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("is_copy", [False, True], ids=["renamed", "copied"])
@pytest.mark.parametrize("name", FOLDER_NAMES)
def test_moved_clone_is_relocated(tmp_path: Path, name: str, *, is_copy: bool) -> None:
    """A renamed or copied clone runs its own code, after one line that says what was done."""
    former = small_clone(tmp_path / "former")
    (former / ".demo").mkdir()
    (former / ".demo/run.json").touch()
    folder = tmp_path / name
    if is_copy:
        shutil.copytree(former, folder, symlinks=True)
    else:
        former.rename(folder)
    first = make(folder, "status")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == [
        f"this folder was {former}: relocating its Python environment",
        f"the code of {folder}/clone_folder.py",
    ]
    assert make(folder, "status").stdout == f"the code of {folder}/clone_folder.py\n"
    (url,) = folder.glob(".venv/lib/python*/site-packages/demo-1.dist-info/direct_url.json")
    assert json.loads(url.read_text())["url"] == folder.as_uri()
    # The processes of a running stack belong to the other clone, or to this one that was renamed.
    assert (folder / ".demo/run.json").exists() == (not is_copy)
    if is_copy:
        assert make(former, "status").stdout == f"the code of {former}/clone_folder.py\n"


def test_moved_clone_can_be_moved_back(tmp_path: Path) -> None:
    """A clone that was moved to a path with a blank, and back, has its first scripts again."""
    former = small_clone(tmp_path / "former")
    script = (former / ".venv/bin/demo").read_text()
    folder = former.rename(tmp_path / "with a blank")
    assert make(folder, "status").returncode == 0
    folder.rename(former)
    assert make(former, "status").returncode == 0
    assert (former / ".venv/bin/demo").read_text() == script


@pytest.mark.parametrize("fault", ["python", "script"])
def test_environment_that_cannot_be_relocated_is_set_up_again(tmp_path: Path, fault: str) -> None:
    """If the Python of .venv or its command is gone, ``make`` sets the environment up again."""
    folder = small_clone(tmp_path / "former")
    (folder / ".venv/bin" / {"python": "python", "script": "demo"}[fault]).unlink()
    if fault == "python":
        (folder / ".venv/bin/python").symlink_to("/nowhere/python3")
    completed = make(folder, "status", PYTHON="false")
    assert "setting up .venv with false" in completed.stdout
    assert completed.returncode != 0


def test_changed_lock_file_sets_a_moved_environment_up_again(tmp_path: Path) -> None:
    """A moved environment whose lock file is newer is not relocated but set up again."""
    folder = small_clone(tmp_path / "former").rename(tmp_path / "new")
    completed = make(folder, "-n", "-W", "requirements/runtime.lock", "status")
    assert completed.stdout.count("--require-hashes") == 4
    assert "relocate.py" not in completed.stdout


@pytest.mark.parametrize("state", ["ready", "moved", "no python", "no demo", "empty"])
def test_clean_always_works(tmp_path: Path, state: str) -> None:
    """``make clean`` ends with 0 and removes .venv and .demo, whatever state .venv is in."""
    folder = small_clone(tmp_path / "former")
    (folder / ".demo").mkdir()
    if state == "moved":
        folder = folder.rename(tmp_path / "new")
    elif state == "no python":
        (folder / ".venv/bin/python").unlink()
    elif state == "no demo":
        (folder / ".venv/bin/demo").unlink()
    elif state == "empty":
        shutil.rmtree(folder / ".venv")
    completed = make(folder, "clean")
    assert completed.returncode == 0, completed.stderr
    assert not (folder / ".venv").exists()
    assert not (folder / ".demo").exists()
    if state == "moved":
        assert f"the code of {folder}/" in completed.stdout, "not that of the former folder"


def test_variables_that_would_break_the_set_up_are_not_passed_on() -> None:
    """Of the caller's ``PIP_*``, ``UV_*`` and ``PYTHON*``, those that redirect are left out."""
    removed = {
        "PIP_USER": "1",
        "PIP_TARGET": "/nowhere",
        "PIP_PREFIX": "/nowhere",
        "PIP_REQUIRE_HASHES": "1",
        "PIP_CONSTRAINT": "/nowhere",
        "UV_SYSTEM_PYTHON": "1",
        "UV_PYTHON": "3.9",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/nowhere",
        "PYTHONSAFEPATH": "1",
    }
    kept = {
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "PIP_NO_INDEX": "1",
        "UV_INDEX_URL": "https://mirror.example/simple",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    completed = make(ROOT, "--eval=show: ; @env", "show", **removed, **kept)
    assert completed.returncode == 0, completed.stderr
    passed_on = dict(line.split("=", 1) for line in completed.stdout.splitlines() if "=" in line)
    assert removed.keys() & passed_on.keys() == set()
    assert {name: passed_on.get(name) for name in kept} == kept


def test_pip_installs_into_the_environment_whatever_its_configuration_says() -> None:
    """The locked packages are installed with ``--no-user``, the project without configuration."""
    commands = dry_run("-W", "requirements/runtime.lock", ".venv/.ready")
    assert commands.count("--no-user") == 2
    assert "PIP_CONFIG_FILE=/dev/null .venv/bin/python -m pip --isolated install" in commands
