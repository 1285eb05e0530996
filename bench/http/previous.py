"""Set up the previous release for the arm ``previous``: ``python -m bench.http.previous``.

The files of the commit ``PREVIOUS_COMMIT`` are extracted into a folder of their own, and its own
Makefile creates an environment there, with its own lock files. So the arm has the library, the
services and the packages of that release. The folder is named after the commit, so that a new
``PREVIOUS_COMMIT`` gets a new one.
"""

import io
import os
import shutil
import subprocess
import tarfile

from bench.http.arms import PREVIOUS, PREVIOUS_COMMIT, ROOT


def main() -> None:
    """Do nothing if the folder of the previous release is complete, otherwise create it."""
    if (PREVIOUS / ".venv/.ready").exists():
        return
    shutil.rmtree(PREVIOUS, ignore_errors=True)
    PREVIOUS.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", "--format=tar", PREVIOUS_COMMIT],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(PREVIOUS, filter="data")
    # Variables of the make that runs this program would apply to the other Makefile as well.
    makefile_variables = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    environment = {
        name: value for name, value in os.environ.items() if name not in makefile_variables
    }
    subprocess.run(["make", "setup"], cwd=PREVIOUS, env=environment, check=True)


if __name__ == "__main__":
    main()
