"""The check of the Collector's queue files in its container."""

import json
import sys

import pytest

from tests.compose import engine
from tests.compose.conftest import ComposeProject

pytestmark = [pytest.mark.stack, pytest.mark.engine, pytest.mark.timeout(300)]
FOLDER = "/var/lib/otelcol"
"""The folder of the queue files, in the container of the check and in that of the Collector."""
LIST = f"""
import json, pathlib
print(json.dumps(sorted(path.name for path in pathlib.Path("{FOLDER}").iterdir())))
"""
DAMAGE = f"""
import pathlib
for path in pathlib.Path("{FOLDER}").glob("exporter_*"):
    with path.open("r+b") as file:
        file.write(bytes(4 * 4096))
"""
CHECK_AS_IF_DAMAGED = f"""
import pathlib
from three_pillar_demo.stack import queue_files
queue_files.MAGIC = 0
queue_files.main(pathlib.Path("{FOLDER}"))
"""
"""A Python script that takes every queue file for a damaged one."""


def run_with_volume(script: str) -> str:
    """Run a Python script in a container like that of the check, and return its output."""
    service = "otel-collector-queue-check"
    run = ("run", "--rm", "-T", "--no-deps", service, "python", "-c", script)
    return engine.compose(*run).stdout.strip()


def queue_folder() -> list[str]:
    """Return the names of the files in the Collector's volume."""
    names: list[str] = json.loads(run_with_volume(LIST))
    return names


def test_check_leaves_the_files_of_a_running_collector(project: ComposeProject) -> None:
    """While the Collector runs, the check, which ``run`` and ``up`` repeat, renames nothing."""
    # They are in different containers, so this needs a lock that works between containers.
    assert project.services
    before = queue_folder()
    assert [name for name in before if name.startswith("exporter_")]
    assert run_with_volume(CHECK_AS_IF_DAMAGED) == ""
    assert queue_folder() == before


def test_damaged_queue_is_set_aside_at_the_next_start(project: ComposeProject) -> None:
    """``up`` renames damaged queue files and says so, and the Collector forwards again."""
    engine.compose("stop", "otel-collector")
    queues = [name for name in queue_folder() if name.startswith("exporter_")]
    run_with_volume(DAMAGE)
    project.up()
    output = engine.compose("logs", "--no-log-prefix", "otel-collector-queue-check").stdout
    names = queue_folder()
    for queue in queues:
        (aside,) = (name for name in names if name.startswith(f"{queue}.damaged-"))
        assert f"is kept as {FOLDER}/{aside}" in output
    verify = ("-m", "three_pillar_demo", "verify", "--checkouts", "30")
    completed = engine.run(sys.executable, *verify, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert set(queues) <= set(queue_folder())
