"""Read the faults that a running drill has turned on.

A drill writes the faults into a JSON file that only the user of the service can write. The drill
touches the file regularly: the faults end ``LEASE_S`` seconds after the latest touch.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

LEASE_S = 2.0
"""Seconds that faults stay active after the file was last modified or touched.

A running drill touches the file twice a second. So the faults end soon after the drill, even if the
drill is killed.
"""

WRITABLE_BY_OTHERS = 0o022
"""The permission bits that let the group or anybody else write (0o022)."""


def active_faults(path: str) -> dict[str, Any]:
    """Return the JSON object in the file at ``path``: the name and the value of each active fault.

    The file must belong to the user of this process, and no other user may write to it. It must not
    be a symbolic link. The last touch must be less than ``LEASE_S`` seconds ago. Without such a
    file, or if its content is invalid, the result is empty.
    """
    try:
        # A symbolic link itself has the mode 0o777 on Linux, so it is writable by others.
        status = os.lstat(path)
        if status.st_uid != os.getuid() or status.st_mode & WRITABLE_BY_OTHERS:
            return {}
        if time.time() - status.st_mtime >= LEASE_S:
            return {}
        return dict(json.loads(Path(path).read_text()))
    except (OSError, ValueError, TypeError):
        return {}
