"""Makes a program of Node.js or Java instrument itself, where OpenTelemetry is installed for it."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from three_pillar_demo.run_program.instrumented import Instrumented, how_to_install
from three_pillar_demo.run_program.program import interpreter
from three_pillar_demo.run_program.variables import given

NODE_NAMES = ("node", "nodejs")
NODE_PACKAGE = "@opentelemetry/auto-instrumentations-node"
NODE_OPTIONS = "NODE_OPTIONS"
DETECTORS = "OTEL_NODE_RESOURCE_DETECTORS"
LOCAL_DETECTORS = "env,host,os,process,serviceinstance"
"""The detectors that look at this machine alone.

By default the package also asks the metadata servers of cloud providers, and warns about each that
does not answer.
"""
RESOLVE = f"""
const paths = process.argv.slice(1);
process.stdout.write(require.resolve({json.dumps(NODE_PACKAGE + "/register")}, {{paths}}));
"""
"""A program that prints the file of the package that is installed for one of the folders given."""
RESOLVE_TIMEOUT_S = 30.0

JAVA_AGENT = "opentelemetry-javaagent.jar"
JAVA_TOOL_OPTIONS = "JAVA_TOOL_OPTIONS"
JAVA_AGENT_URL = "https://github.com/open-telemetry/opentelemetry-java-instrumentation/releases"


def find_node(program: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the Node.js that runs ``program``, such as node, npm or npx; None if none does."""
    if program.name in NODE_NAMES:
        return program
    found = interpreter(program, environment)
    return found if found and found.name in NODE_NAMES else None


def instrument_node(
    command: list[str], node: Path, environment: Mapping[str, str], folder: Path
) -> Instrumented:
    """Return how to run ``command``, a program that ``node`` runs in the working ``folder``."""
    options = environment.get(NODE_OPTIONS, "")
    if NODE_PACKAGE in " ".join([options, *command]):
        return Instrumented(command, NODE_PACKAGE)
    scripts = [Path(word).resolve().parent for word in command[1:] if Path(word).is_file()]
    module = _resolve(node, environment, [folder, *scripts[:1]])
    if not module:
        problem = how_to_install(f"npm install @opentelemetry/api {NODE_PACKAGE}")
        return Instrumented(command, problem=problem)
    # The full path, because a child process may have another working folder.
    escaped = module.replace("\\", "\\\\").replace('"', '\\"')
    variables = {NODE_OPTIONS: f'{options} --require "{escaped}"'.strip()}
    if not given(environment, DETECTORS):
        variables[DETECTORS] = LOCAL_DETECTORS
    return Instrumented(command, NODE_PACKAGE, variables=variables)


def _resolve(node: Path, environment: Mapping[str, str], folders: list[Path]) -> str:
    without_options = {name: text for name, text in environment.items() if name != NODE_OPTIONS}
    try:
        process = subprocess.run(  # noqa: S603  (the interpreter that the user's command runs)
            [str(node), "-e", RESOLVE, "--", *map(str, folders)],
            env=without_options,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RESOLVE_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    return process.stdout.strip()


def instrument_java(
    command: list[str], environment: Mapping[str, str], folder: Path
) -> Instrumented:
    """Return how to run ``command``, a ``java`` command, in the working ``folder``.

    The agent is used if its file is in that folder, under the name of its release.
    """
    options = given(environment, JAVA_TOOL_OPTIONS)
    if "-javaagent:" in " ".join([options, *command]):
        return Instrumented(command, "the -javaagent given")
    agent = folder / JAVA_AGENT
    if not agent.is_file():
        problem = how_to_install(f"put {JAVA_AGENT} here, from {JAVA_AGENT_URL}")
        return Instrumented(command, problem=problem)
    option = f"-javaagent:{agent}"
    if " " in option:
        option = f'"{option}"'
    return Instrumented(
        command, JAVA_AGENT, variables={JAVA_TOOL_OPTIONS: f"{options} {option}".strip()}
    )
