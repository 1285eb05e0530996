"""Functions that run commands of Docker and Compose on this machine.

``docker`` must be on PATH. DOCKER_HOST may name another engine, and COMPOSE another command for
Compose.
"""

import functools
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import IO, Any

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = "three-pillar-test"
"""The Compose project of the tests; its name differs from the default, so that a user's own
stack is not affected."""
OUR_IMAGE = "three-pillar-demo:0.1.0"
CHECK_TIMEOUT_S = 20
COMMAND_TIMEOUT_S = 600


class EngineError(Exception):
    """A command of Docker or Compose failed; the message is its output."""


def run(
    *command: str,
    seconds: float = COMMAND_TIMEOUT_S,
    stdin: IO[bytes] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in the root folder of the repository, and wait for its end.

    Raises:
        EngineError: The exit code is not 0, and ``check`` is set.
    """
    completed = subprocess.run(
        command, cwd=ROOT, stdin=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    if check and completed.returncode:
        raise EngineError(f"{shlex.join(command)}:\n{completed.stdout}\n{completed.stderr}")
    return completed


def docker(*arguments: str, stdin: IO[bytes] | None = None, check: bool = True) -> str:
    """Run ``docker`` with ``arguments``, and return its output."""
    return run("docker", *arguments, stdin=stdin, check=check).stdout.strip()


def inspect(name: str, kind: str = "container") -> dict[str, Any]:
    """Return the attributes of a container or an image; an empty dict if it does not exist."""
    objects: list[dict[str, Any]] = json.loads(docker(kind, "inspect", name, check=False) or "[]")
    return objects[0] if objects else {}


@functools.cache
def compose_command() -> list[str]:
    """Return the command of Compose 2 as a list of words; empty if it is not installed."""
    configured = os.environ.get("COMPOSE")
    candidates = [["docker", "compose"], ["docker-compose"]]
    if configured:
        candidates = [shlex.split(configured)]
    for words in candidates:
        if not shutil.which(words[0]):
            continue
        version = run(*words, "version", seconds=CHECK_TIMEOUT_S, check=False)
        if version.returncode == 0:
            return words
    return []


def compose(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Compose with docker-compose.yaml and ``arguments``."""
    return run(*compose_command(), "--project-name", PROJECT, *arguments, check=check)


@functools.cache
def unavailable_reason() -> str:
    """Return why this machine cannot run containers, or an empty string if it can."""
    if not shutil.which("docker"):
        return "no docker command"
    if run("docker", "info", seconds=CHECK_TIMEOUT_S, check=False).returncode:
        return "no Docker engine answers (docker info)"
    if not compose_command():
        return "no Compose 2 (neither docker compose nor docker-compose; COMPOSE names another)"
    return ""


@functools.cache
def resolved_file() -> dict[str, Any]:
    """Return docker-compose.yaml as Compose resolves it, with all profiles.

    Without Compose, return the parsed YAML.
    """
    if compose_command():
        output = compose("--profile", "*", "config", "--format", "json").stdout
        resolved: dict[str, Any] = json.loads(output)
        return resolved
    plain: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    return plain


def containers() -> dict[str, str]:
    """Return the container ids of the project by service, including stopped containers.

    Containers of ``compose run`` are left out.
    """
    output = docker(
        "ps",
        "--all",
        "--filter",
        f"label=com.docker.compose.project={PROJECT}",
        "--filter",
        "label=com.docker.compose.oneoff=False",
        "--format",
        '{{.Label "com.docker.compose.service"}} {{.ID}}',
    )
    return dict(line.split(" ", 1) for line in output.splitlines())
