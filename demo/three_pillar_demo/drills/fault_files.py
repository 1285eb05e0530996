"""Writes the files that turn on faults inside the services.

Only this user can write the files. A service (``services/common/active_faults.py``) ignores a file
that was not touched for ``LEASE_S`` seconds, so a fault ends by itself when its drill is killed.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from three_pillar_demo.paths import STATE

DRILL_FOLDER = STATE / "drill"
"""The folder of the fault files, the session and the locks of the running drill."""
LEASE_S = 2.0
"""Seconds after which a service ignores a fault file that was not touched."""
TOUCH_INTERVAL_S = 0.5
"""Seconds between two touches of the fault files while a drill runs."""


def ensure_folder() -> Path:
    """Create ``DRILL_FOLDER``, accessible to this user only, if it is missing; return its path."""
    DRILL_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
    return DRILL_FOLDER


def active_faults() -> dict[str, dict[str, Any]]:
    """Return the faults that are active now, by service; files that have expired are left out."""
    faults_by_service = {}
    for path in sorted(DRILL_FOLDER.glob("*.fault")):
        with suppress(OSError, ValueError):
            if time.time() - path.stat().st_mtime < LEASE_S:
                faults_by_service[path.stem] = json.loads(path.read_text())
    return faults_by_service


@asynccontextmanager
async def published(faults: Mapping[str, dict[str, Any]]) -> AsyncIterator[None]:
    """Turn on the faults of each service, and keep them on until the end of the block.

    ``faults`` maps the name of a service to the content of its fault file.
    """
    folder = ensure_folder()
    paths = {service: folder / f"{service}.fault" for service in faults}
    try:
        for service, path in paths.items():
            _write(path, faults[service])
        touching = asyncio.create_task(_keep_touched(list(paths.values())))
        try:
            yield
        finally:
            touching.cancel()
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def _write(path: Path, fault: dict[str, Any]) -> None:
    """Write a fault file atomically; it is never incomplete, and never writable by other users."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(0o600)
    draft.write_text(json.dumps(fault))
    draft.replace(path)


async def _keep_touched(paths: list[Path]) -> None:
    """Touch the files every ``TOUCH_INTERVAL_S`` seconds until this task is cancelled."""
    while True:
        for path in paths:
            os.utime(path)
        await asyncio.sleep(TOUCH_INTERVAL_S)


def clear() -> None:
    """Remove all fault files; a drill that was killed leaves its fault files behind."""
    if DRILL_FOLDER.exists():
        for path in DRILL_FOLDER.glob("*.fault"):
            path.unlink(missing_ok=True)
