"""Checks before the stack is started: of variables, binaries, free disk space and free ports."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from three_pillar_demo.paths import STATE
from three_pillar_demo.stack import binaries, port_choice, ports
from three_pillar_demo.stack.binaries import KAFKA, THANOS, Binary
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.external_binary import ExternalBinary

MIN_FREE_BYTES = 1024**3
"""Free disk space, in bytes, that a run needs.

The retention settings of the backends keep their data below this size.
"""
MIN_JAVA = 17
JAVA_VERSION = re.compile(r'version "(?P<version>\d+)')

ON_LOOPBACK = "`demo up` runs every component on 127.0.0.1; unset the variable"
IN_STATE_FOLDER = "`demo up` keeps all data in one folder; set DEMO_STATE to choose it"


class LaunchError(Exception):
    """The stack cannot start or cannot go on.

    The message names the component, the reason and, where there is one, the log.
    """


def find_executables(components: Iterable[Component]) -> dict[str, Path]:
    """Return the path of the executable of every component that has a binary, by component name.

    Raises:
        LaunchError: At least one executable is missing. The message says how to obtain each
            missing executable.
    """
    components = list(components)
    option = "--cluster" if any(item.binary is THANOS for item in components) else "--full"
    executables: dict[str, Path] = {}
    not_installed: list[ExternalBinary] = []
    not_built: list[Binary] = []
    for component in components:
        binary = component.binary
        if isinstance(binary, ExternalBinary):
            if binary.path:
                executables[component.name] = binary.path
            else:
                not_installed.append(binary)
        elif isinstance(binary, Binary):
            executable = binaries.find(binary)
            if executable:
                executables[component.name] = executable
            else:
                not_built.append(binary)
    messages = []
    # In a cluster many components have the same binary.
    not_installed = list(dict.fromkeys(not_installed))
    not_built = list(dict.fromkeys(not_built))
    if not_installed:
        messages.append(_how_to_install(not_installed))
    if not_built:
        messages.append(_how_to_build(option, not_built))
    if any(item.binary is KAFKA for item in components) and (problem := _java_problem()):
        messages.append(f"{option} needs {problem}")
    if messages:
        raise LaunchError("\n".join(messages))
    return executables


def _names(missing: Iterable[Binary | ExternalBinary]) -> str:
    *names, last_name = [f"{binary.name} {binary.version}" for binary in missing]
    return f"{', '.join(names)} and {last_name}" if names else last_name


def _how_to_install(missing: list[ExternalBinary]) -> str:
    pronoun = "it" if len(missing) == 1 else "them"
    urls = "".join(f"  {binary.releases_url}\n" for binary in missing)
    return (
        f"--full needs {_names(missing)} on PATH; nothing has been started.\n"
        f"Either put {pronoun} there, from the official release or package:\n"
        f"{urls}"
        "or run everything in containers: docker compose up\n"
        "(`demo up` without --full needs Python alone.)"
    )


def _how_to_build(option: str, missing: list[Binary]) -> str:
    target = "binaries-cluster" if option == "--cluster" else "binaries"
    return (
        f"{option} needs {_names(missing)}, on PATH or in {binaries.output_folder()}; "
        f"nothing has been started. Build what is missing, once: make {target}"
    )


def _java_problem() -> str:
    """Return what is missing for Kafka; "" if there is a Java that it runs on."""
    installed = binaries.version_of("java", "-version", JAVA_VERSION)
    if installed and int(installed) >= MIN_JAVA:
        return ""
    found = f"the one on PATH is {installed}" if installed else "there is none on PATH"
    return f"Java {MIN_JAVA} or newer for Kafka, and {found}; nothing has been started"


def version_warnings(components: Iterable[Component]) -> list[str]:
    """Return a warning for each external binary (Tempo, Loki) of a version not known to work."""
    warnings = [
        component.binary.version_warning()
        for component in components
        if isinstance(component.binary, ExternalBinary)
    ]
    return [warning for warning in dict.fromkeys(warnings) if warning]  # A cluster has many.


def check_disk() -> None:
    """Check that the disk of the state folder has enough free space.

    Raises:
        LaunchError: Less than ``MIN_FREE_BYTES`` is free.
    """
    free = shutil.disk_usage(STATE).free
    if free < MIN_FREE_BYTES:
        raise LaunchError(
            f"only {free / 1024**2:.0f} MiB are free at {STATE}; "
            f"the stack needs {MIN_FREE_BYTES / 1024**2:.0f} MiB"
        )


def check_environment(components: Iterable[Component]) -> None:
    """Check the variables that a launcher cannot obey: addresses and data folders of components.

    Raises:
        LaunchError: Such a variable has another value than the launcher's. The message has one
            line for each of them.
    """
    problems = [_problem("BIND_ADDRESS", {ports.LOOPBACK}, ON_LOOPBACK)]
    for component in components:
        prefix = component.variable_prefix
        problems += [
            _problem(f"{prefix}_HOST", {ports.LOOPBACK, "localhost"}, ON_LOOPBACK),
            _problem(f"{prefix}_BIND", {ports.LOOPBACK, "0.0.0.0"}, ON_LOOPBACK),  # noqa: S104  (the user's choice)
            _problem(f"{prefix}_DATA", {str(component.data)}, IN_STATE_FOLDER),
        ]
    problems.append(_problem("EMBEDDED_DATA", set(), IN_STATE_FOLDER))
    if any(problems):
        raise LaunchError("\n".join(problem for problem in problems if problem))


def _problem(variable: str, allowed: set[str], reason: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value or value in allowed:
        return ""
    return f"{variable}={ascii(value)[1:-1][:80]}: {reason}"


def check_ports(components: Iterable[Component]) -> None:
    """Check that all ports of ``components`` are free.

    Raises:
        LaunchError: A port is not free. The message lists each such port, with the process that
            uses it if the system shows this.
    """
    not_free = [
        f"  port {port.number} ({component.name}) {reason}"
        for component in components
        for port in component.ports
        if (reason := port_choice.problem_of(port.number))
    ]
    if not_free:
        raise LaunchError(
            "these ports are not free; stop the processes that use them and try again:\n"
            + "\n".join(not_free)
        )
