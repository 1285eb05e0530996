"""The files that turn faults on inside the services.

Only this user can write them, and a service ignores one that nobody has touched for ``LEASE_S``
(``services/common/active_faults.py``). So a fault ends by itself when its drill is killed.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from three_pillar_demo.stack.components import STATE

DRILL_FOLDER = STATE / "drill"
"""Holds everything about the running drill."""
LEASE_S = 2.0
"""Seconds after which a service ignores a file that was not touched."""
TOUCH_INTERVAL_S = 0.5
"""Seconds between two touches of the files while a drill runs."""


def ensure_folder() -> Path:
    """Create the drill folder if it is missing, for this user only, and return its path."""
    DRILL_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
    return DRILL_FOLDER


def active_faults() -> dict[str, dict[str, Any]]:
    """Return the active faults by service, without the expired files of killed drills."""
    active = {}
    for path in sorted(DRILL_FOLDER.glob("*.fault")):
        with suppress(OSError, ValueError):
            if time.time() - path.stat().st_mtime < LEASE_S:
                active[path.stem] = json.loads(path.read_text())
    return active


@asynccontextmanager
async def published(faults: Mapping[str, dict[str, Any]]) -> AsyncIterator[None]:
    """Turn on the faults of each service, and keep them on until the end of the block."""
    folder = ensure_folder()
    paths = {name: folder / f"{name}.fault" for name in faults}
    try:
        for name, path in paths.items():
            _write(path, faults[name])
        touching = asyncio.create_task(_keep_touched(list(paths.values())))
        try:
            yield
        finally:
            touching.cancel()
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def _write(path: Path, fault: dict[str, Any]) -> None:
    """Write a fault file atomically; it is never writable by others, not even for a moment."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(0o600)
    draft.write_text(json.dumps(fault))
    draft.replace(path)


async def _keep_touched(paths: list[Path]) -> None:
    while True:
        for path in paths:
            os.utime(path)
        await asyncio.sleep(TOUCH_INTERVAL_S)


def clear() -> None:
    """Remove the fault files that a killed drill left."""
    if DRILL_FOLDER.exists():
        for path in DRILL_FOLDER.glob("*.fault"):
            path.unlink(missing_ok=True)
