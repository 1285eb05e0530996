"""What a drill has turned on: a file that only the user of this machine can write, and that is good for seconds."""

import json
import os
import time
from pathlib import Path
from typing import Any

LEASE = 2.0
"""Seconds. Whoever plays a drill touches the file twice a second, so a fault ends with its player, however that ends."""


def faults(path: str) -> dict[str, Any]:
    """The faults in the file at ``path``; none without a path, in a link or a file that others may write, or in an old one."""
    try:
        about = os.lstat(path)
        ours = about.st_uid == os.getuid() and not about.st_mode & 0o022
        return (
            dict(json.loads(Path(path).read_text()))
            if ours and time.time() - about.st_mtime < LEASE
            else {}
        )
    except (OSError, ValueError, TypeError):
        return {}
