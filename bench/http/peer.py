"""Set up the peer for the arm ``peer``: ``python -m bench.http.peer``.

The peer is a public repository without a licence file. Nothing of it is part of this project: the
commit ``PEER_COMMIT`` is cloned into a folder that git ignores, with the packages that the peer's
own ``requirements.txt`` pins.
"""

import shutil
import subprocess
import sys

from bench.http.arms import PEER, PEER_COMMIT, PEER_REPOSITORY

READY = PEER / ".venv/.ready"


def main() -> None:
    """Do nothing if the folder of the peer is complete, otherwise create it."""
    if READY.exists():
        return
    shutil.rmtree(PEER, ignore_errors=True)
    clone = ["git", "clone", "--quiet", PEER_REPOSITORY, str(PEER)]
    subprocess.run(clone, check=True)
    subprocess.run(["git", "checkout", "--quiet", PEER_COMMIT], cwd=PEER, check=True)
    subprocess.run([sys.executable, "-m", "venv", str(PEER / ".venv")], check=True)
    install = ["-m", "pip", "install", "--quiet", "-r", "fastapi_app/requirements.txt"]
    subprocess.run([str(PEER / ".venv/bin/python"), *install], cwd=PEER, check=True)
    READY.touch()


if __name__ == "__main__":
    main()
