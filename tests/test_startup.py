"""The start of every process: its imports run without garbage collections."""

import json
import os
import subprocess
import sys

import pytest

COUNT_COLLECTIONS = """
import gc, io, json, sys
from contextlib import redirect_stderr, redirect_stdout

collections = {}

def count(phase, info):
    collections[part] += phase == "start"

gc.callbacks.append(count)
with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
    part = "store"
    collections[part] = 0
    from three_pillar_demo.local_store import __main__ as store
    assert store.main() == 2
    part = "web"
    collections[part] = 0
    from three_pillar_demo.web import __main__ as web
    assert web.process.main() == 2
    part = "services"
    collections[part] = 0
    from services.common import startup
    assert startup.run("services.payment.service") == 2
    part = "command"
    collections[part] = 0
    from three_pillar_demo import __main__ as command
    sys.argv = ["demo", "follow", "--help"]
    try:
        command.main()
    except SystemExit as end:
        assert end.code == 0
print(json.dumps(collections))
"""
"""It starts each program up to an invalid variable, or the help, and prints the number of garbage
collections meanwhile, by program. What a program has imported is imported for the next one, too."""
INVALID = dict.fromkeys(("PAYMENT_PORT", "STORE_PORT", "WEB_PORT"), "x")


@pytest.fixture(scope="module")
def collections() -> dict[str, int]:
    """The number of garbage collections while each program started."""
    process = subprocess.run(
        [sys.executable, "-c", COUNT_COLLECTIONS],
        env=os.environ | INVALID,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    counts: dict[str, int] = json.loads(process.stdout)
    return counts


@pytest.mark.parametrize("program", ["store", "web", "services", "command"])
def test_imports_collect_no_garbage(collections: dict[str, int], program: str) -> None:
    """A program hardly collects garbage before it works, which took a seventh of its start."""
    assert collections[program] < 12
