"""Runs programs in forks of this process: ``python -m tests.fork_server MODULE...``.

The programs find the modules imported. Each line of stdin is a JSON object that describes a
program, and each line of stdout is the exit code of one, negative for a signal. The client is in
``forked_programs.py``.

code         The program, as ``python -c`` would run it, or
module       a module, as ``python -m`` would run it.
environment  All its environment variables.
folder       Its working directory.
stdout       The file that its stdout goes to.
stderr       The file that its stderr goes to.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import sys
from typing import Any

TIMEOUT_S = 60
"""Seconds after which SIGALRM ends a program."""


def wait_for_program() -> dict[str, Any]:
    """Return the description of a program in a fork that is to run it; the server never returns."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            program: dict[str, Any] = json.loads(line)
            return program
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    sys.exit()


def prepare_process(program: dict[str, Any]) -> None:
    """Give this process the variables, the folder and the files of ``program``."""
    signal.alarm(TIMEOUT_S)
    os.environ.clear()
    os.environ.update(program["environment"])
    os.chdir(program["folder"])
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, program["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, program["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()
    program = wait_for_program()
    prepare_process(program)
    sys.argv[1:] = []
    if "module" in program:
        runpy.run_module(program["module"], run_name="__main__", alter_sys=True)
    else:
        exec(program["code"], {"__name__": "__main__"})  # noqa: S102  (a program of the tests)
