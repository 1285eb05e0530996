"""Finds the executable file of a command, as a shell does, and the interpreter of a script."""

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

NOT_FOUND = 127
NOT_EXECUTABLE = 126
MAX_HEAD_BYTES = 1024


class ProgramError(Exception):
    """A command cannot be run; ``exit_code`` is what a shell would exit with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def find_program(name: str, environment: Mapping[str, str]) -> Path:
    """Return the path of the executable of the command ``name``.

    A name without a slash is looked up in ``PATH``.

    Raises:
        ProgramError: There is no such file, or it is not executable.
    """
    search_path = environment.get("PATH", os.defpath)
    found = shutil.which(name, path=search_path)
    if found:
        return Path(found)
    candidates = [Path(name)]
    if "/" not in name:
        candidates = [Path(folder, name) for folder in search_path.split(os.pathsep)]
    if name and any(candidate.exists() for candidate in candidates):
        raise ProgramError(f"{name}: not executable", NOT_EXECUTABLE)
    raise ProgramError(f"{name}: command not found", NOT_FOUND)


def head(program: Path) -> bytes:
    """Return the first bytes of a file; none if it cannot be read."""
    try:
        with program.open("rb") as file:
            return file.read(MAX_HEAD_BYTES)
    except OSError:
        return b""


def interpreter(program: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the interpreter that the first line of a script names; None if there is none.

    A line with ``env`` is resolved in ``PATH``. If pip or uv has written the script for an
    interpreter with a long path, or one with blanks, then the second line names the interpreter.
    """
    begin = head(program)
    if not begin.startswith(b"#!"):
        return None
    first, second = [*begin[2:].decode(errors="surrogateescape").split("\n"), ""][:2]
    if second.startswith("'''exec' "):
        words = _words(second.removeprefix("'''exec' "))
    else:
        words = _without_env(first.split())
    found = shutil.which(words[0], path=environment.get("PATH", os.defpath)) if words else None
    return Path(found) if found else None


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # A quotation that is not closed.
        return []


def _without_env(words: list[str]) -> list[str]:
    """Return the words of a first line after ``/usr/bin/env``, its options and its variables."""
    if not words or Path(words[0]).name != "env":
        return words
    rest = words[1:]
    while rest and (rest[0].startswith("-") or "=" in rest[0]):
        rest = rest[1:]
    return rest
