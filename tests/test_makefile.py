"""How ``make`` sets the environment up."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("kept_from_writing", "compiled"), [("", False), ("1", True)])
def test_somebody_compiles(kept_from_writing: str, *, compiled: bool) -> None:
    """Where Python may not write what it compiled, the set-up does; else the first start, and the set-up is sooner ready."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": kept_from_writing}
    # -W: as if the lock had just changed.
    command = ["make", "--dry-run", "-W", "requirements/runtime.lock", ".venv/.ready"]
    said = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.count("--require-hashes") == 4  # two locks, by uv or by pip
    assert said.stdout.count("--compile-bytecode") == (2 if compiled else 0)
    assert said.stdout.count("--no-compile") == (0 if compiled else 2)
