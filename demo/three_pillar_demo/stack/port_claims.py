"""Claims to ports, so that two stacks that start at the same moment do not choose the same one.

To look whether a port is free is not enough: from then on until the component listens, and while it
is restarted, another stack would find it free too. A launcher therefore holds a file lock for each
of its ports until it ends. The system releases the locks of a launcher that was killed.
"""

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

FOLDER = Path(tempfile.gettempdir()) / f"three-pillar-demo-{os.getuid()}"
"""The folder of the lock files, which all clones and state folders of this user share."""


class PortClaims:
    """The ports that one launcher has claimed."""

    def __init__(self) -> None:
        """Claim nothing yet."""
        self._files: dict[Path, IO[str]] = {}

    def take(self, number: int) -> bool:
        """Claim the port ``number``; return False if another launcher of this user has claimed it.

        Where no lock file can be written, the result is True: the claim is a precaution, without
        which the demo works too.
        """
        path = FOLDER / str(number)
        if path in self._files:
            return True
        try:
            _check_folder()
            file = _locked(path)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._files[path] = file
        return True

    def release(self) -> None:
        """Give up all claims."""
        for path, file in self._files.items():
            # The file is removed before its lock is released; see ``_locked``.
            with suppress(OSError):
                path.unlink()
            file.close()
        self._files = {}


def _locked(path: Path) -> IO[str]:
    """Return the file at ``path``, which is created if it does not exist, with a lock on it.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: It cannot be opened or locked.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    file = os.fdopen(os.open(path, flags, 0o600), "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or not os.path.samestat(path.lstat(), os.fstat(file.fileno())):
            # Its owner has removed it in between. The next process would create and lock another.
            raise BlockingIOError
    except OSError:
        file.close()
        raise
    return file


def _check_folder() -> None:
    """Create ``FOLDER`` if it does not exist.

    Raises:
        OSError: It cannot be created, or belongs to another user, who could replace its files.
    """
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    status = FOLDER.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError
