"""The Docker engine and Compose, as this machine has them: ``docker`` on PATH, DOCKER_HOST, and the command in COMPOSE."""

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
"""A project of its own: what a person runs from the same file, and its data, is left alone."""
OURS = "three-pillar-demo:0.1.0"
QUESTION_SECONDS = 20
WORK_SECONDS = 600


class EngineError(Exception):
    """Docker or Compose said no; the text is what they said."""


def run(
    *command: str, seconds: float = WORK_SECONDS, stdin: IO[bytes] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in the house's folder to its end.

    Raises:
        EngineError: It failed, and ``check`` is on.
    """
    done = subprocess.run(
        command, cwd=ROOT, stdin=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    if check and done.returncode:
        raise EngineError(f"{shlex.join(command)}:\n{done.stdout}\n{done.stderr}")
    return done


def docker(*arguments: str, stdin: IO[bytes] | None = None, check: bool = True) -> str:
    """What the engine answers."""
    return run("docker", *arguments, stdin=stdin, check=check).stdout.strip()


def inspect(what: str, kind: str = "container") -> dict[str, Any]:
    """Everything the engine knows of a container or an image; empty when there is none."""
    found: list[dict[str, Any]] = json.loads(docker(kind, "inspect", what, check=False) or "[]")
    return found[0] if found else {}


@functools.cache
def compose_command() -> list[str]:
    """The words that start Compose 2; empty when there is none."""
    named = os.environ.get("COMPOSE")
    for words in [shlex.split(named)] if named else [["docker", "compose"], ["docker-compose"]]:
        if (
            shutil.which(words[0])
            and run(*words, "version", seconds=QUESTION_SECONDS, check=False).returncode == 0
        ):
            return words
    return []


def compose(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Compose on the house's file."""
    return run(*compose_command(), "--project-name", PROJECT, *arguments, check=check)


@functools.cache
def why_not() -> str:
    """Why nothing can be run here; empty when it can."""
    if not shutil.which("docker"):
        return "no docker command"
    if run("docker", "info", seconds=QUESTION_SECONDS, check=False).returncode:
        return "no Docker engine answers (docker info)"
    return (
        ""
        if compose_command()
        else "no Compose 2 (neither docker compose nor docker-compose; COMPOSE names another)"
    )


@functools.cache
def resolved() -> dict[str, Any]:
    """The compose file as Compose understands it, all profiles included; without Compose, as YAML does."""
    if compose_command():
        house: dict[str, Any] = json.loads(
            compose("--profile", "*", "config", "--format", "json").stdout
        )
        return house
    plain: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    return plain


def containers() -> dict[str, str]:
    """The project's containers, stopped ones too: service to id. What ``compose run`` leaves is not among them."""
    label = f"label=com.docker.compose.project={PROJECT}"
    shape = '{{.Label "com.docker.compose.service"}} {{.ID}}'
    lines = docker(
        "ps",
        "--all",
        "--filter",
        label,
        "--filter",
        "label=com.docker.compose.oneoff=False",
        "--format",
        shape,
    ).splitlines()
    return dict(line.split(" ", 1) for line in lines)
