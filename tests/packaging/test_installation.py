"""The wheel in an environment without a checkout: what works, and where its files are."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.demo.run_program.running import SEND_FAILURE, Demo
from tests.packaging.conftest import BUILD_TIMEOUT_S, ROOT
from tests.telemetry.test_acceptance import constraints


def without_checkout(folder: Path, programs: Path) -> Demo:
    """Return the command of the installation in ``programs``, with the user's folders moved."""
    demo = Demo(folder / "unused", [str(programs / "demo")])
    for name in ("DEMO_STATE", "DEMO_HOME", "PYTHONPATH"):
        demo.environment.pop(name, None)
    demo.environment |= {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state-home")}
    return demo


@pytest.fixture
def demo(installed: Path, tmp_path: Path) -> Iterator[Demo]:
    """The command of the installed wheel; what it has started is stopped at the end."""
    command = without_checkout(tmp_path, installed)
    yield command
    command.run("down", cwd=tmp_path)


def test_the_code_is_that_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    """The tests of this module run the installed packages, and not those of the checkout."""
    script = "import three_pillar_demo, three_pillars as library; print(library.__file__)"
    python = str(installed / "python")
    command = [python, "-c", f"{script}; print(three_pillar_demo.__file__)"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert all(str(installed.parent) in line for line in output.stdout.splitlines())


def test_a_request_is_followed_without_a_checkout(demo: Demo, tmp_path: Path) -> None:
    """``demo view`` serves its page, and a request that ``demo run`` has sent is read back."""
    folder = tmp_path / "shopfront"
    folder.mkdir()
    (folder / "app.py").write_text(SEND_FAILURE)
    started = demo.run("view", "--detach", cwd=tmp_path)
    assert started.returncode == 0, started.stdout + started.stderr
    assert "demo run -- COMMAND" in started.stdout
    assert demo.endpoint in started.stdout
    page = f"http://127.0.0.1:{demo.environment['WEB_PORT']}"
    assert page in started.stdout
    for path in ("/", "/static/page.css", "/static/page.js"):
        assert httpx2.get(page + path, trust_env=False).status_code == 200
    # The interpreter of the tests has OpenTelemetry's SDK.
    sent = demo.run("run", "--", sys.executable, "app.py", cwd=folder)
    assert sent.returncode == 0, sent.stderr
    followed = demo.run("follow", "--last-error", cwd=tmp_path)
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert "shopfront" in followed.stdout
    assert "database is away" in followed.stdout
    status = demo.run("status", cwd=tmp_path)
    assert status.returncode == 0, status.stdout
    assert demo.run("logs", "store", cwd=tmp_path).returncode == 0
    assert demo.run("down", cwd=tmp_path).returncode == 0


def test_the_state_is_in_the_users_folder(demo: Demo, tmp_path: Path) -> None:
    """State goes to ``XDG_STATE_HOME``, for the user alone, or to ``DEMO_STATE`` if that is set."""
    assert demo.run("run", "--", "true", cwd=tmp_path).returncode == 0
    folder = tmp_path / "state-home" / "three-pillar-demo"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "run.json").exists()
    demo.run("down", cwd=tmp_path)
    other = tmp_path / "other"
    demo.run("down", cwd=tmp_path, DEMO_STATE="other")
    started = demo.run("view", "--detach", cwd=tmp_path, DEMO_STATE="other")
    assert started.returncode == 0, started.stdout + started.stderr
    assert (other / "data" / "store" / "telemetry.db").exists()
    assert demo.run("status", cwd=tmp_path, DEMO_STATE="other").returncode == 0
    assert demo.run("down", cwd=tmp_path, DEMO_STATE="other").returncode == 0


COMMANDS_OF_THE_SHOP = ("up", "tour", "checkout", "traffic", "verify", "rehearse", "drill list")
SHORT = ("up", "drill list")
"""The commands that ``make test`` tries; ``make test-long`` tries all."""


@pytest.mark.parametrize(
    "command",
    [
        *SHORT,
        *(
            pytest.param(command, marks=pytest.mark.long)
            for command in COMMANDS_OF_THE_SHOP
            if command not in SHORT
        ),
    ],
)
def test_a_command_of_the_shop_needs_a_checkout(demo: Demo, tmp_path: Path, command: str) -> None:
    """Without a checkout, a command of the shop says in one line what it needs."""
    result = demo.run(*command.split(), cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "needs a clone of the repository" in line
    assert "DEMO_HOME" in line
    wrong = demo.run(*command.split(), cwd=tmp_path, DEMO_HOME=str(tmp_path))
    assert f"DEMO_HOME={tmp_path} is none" in wrong.stderr


def test_demo_home_names_the_checkout(demo: Demo, tmp_path: Path) -> None:
    """With ``DEMO_HOME``, the commands of the shop work, and state goes to the checkout again."""
    assert demo.run("drill", "list", cwd=tmp_path, DEMO_HOME=str(ROOT)).returncode == 0
    listed = demo.run("status", "--json", cwd=tmp_path, DEMO_HOME=str(ROOT))
    assert str(ROOT / ".demo") in listed.stdout


@pytest.fixture
def from_clone(tmp_path: Path) -> Path:
    """The ``bin`` folder of an environment into which pip has installed this checkout."""
    environment = tmp_path / "environment"
    create = [sys.executable, "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(create, check=True, timeout=BUILD_TIMEOUT_S)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install"]
    options = ["--quiet", "--no-compile", "--constraint", str(constraints(tmp_path))]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        [*pip, *options, str(ROOT)],
        env=clean,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S * 2,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return environment / "bin"


@pytest.mark.parametrize(
    "installation", ["installed", pytest.param("from_clone", marks=pytest.mark.long)]
)
def test_pip_installs_a_working_command(
    request: pytest.FixtureRequest, tmp_path: Path, installation: str
) -> None:
    """The command works once pip has installed it, also from a clone with what an index has."""
    demo = without_checkout(tmp_path, request.getfixturevalue(installation))
    try:
        result = demo.run("run", "--", "echo", "done", cwd=tmp_path)
        assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
    finally:
        demo.run("down", cwd=tmp_path)
