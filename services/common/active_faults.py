"""The faults that a drill has turned on.

A drill writes them into a file that only the user of this machine can write. They are active for
seconds unless the drill keeps touching the file.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

LEASE_S = 2.0
"""How long faults stay active after the file was touched.

A running drill touches it twice a second, so a fault ends with its drill, however that ends.
"""

WRITABLE_BY_OTHERS = 0o022
"""The permission bits of the group and of everybody else to write."""


def active_faults(path: str) -> dict[str, Any]:
    """Return the faults in the file at ``path``, by the name of their switch.

    There are none without a path, in an old file, in a symbolic link, in a file that others own or
    may write, and in a file that is not a JSON object.
    """
    try:
        status = os.lstat(path)
        if status.st_uid != os.getuid() or status.st_mode & WRITABLE_BY_OTHERS:
            return {}
        if time.time() - status.st_mtime >= LEASE_S:
            return {}
        return dict(json.loads(Path(path).read_text()))
    except (OSError, ValueError, TypeError):
        return {}
