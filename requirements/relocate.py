# ruff: noqa: INP001  (a program of its own, run before anything is installed)
"""Make the Python environments of a renamed or copied clone work in its new folder.

Usage: .venv/bin/python -I requirements/relocate.py, in the root folder of the clone.

The packages of an environment can be moved. Three things name its folder: the first lines of the
scripts in ``bin``, which name their interpreter, and two files of the editable installation. To
replace the former folder in them takes a fraction of a second and needs no network.
"""

import json
import re
import sys
from pathlib import Path

ENVIRONMENTS = (".venv", ".venv/audit", ".venv-bench")

INTERPRETER = re.compile(
    rb"""\A(?:\#!|\#!/bin/sh\n'''exec'\ ["']?)(?P<root>/[^\n]*?)/\.venv[^\n"']*/bin/python[\d.]*"""
    rb"""(?:["']?\ "\$0"\ "\$@"\n'\ ''')?\n""",
    re.VERBOSE,
)
"""Matches the first lines of a script of pip or uv: ``#!``, then the interpreter.

For a path with blanks, or one over 127 bytes, the system's ``#!`` cannot be used; the script then
begins as a shell script that calls the interpreter.
"""

MAX_INTERPRETER_LENGTH = 127


def main() -> int:
    """Relocate each environment of the clone; return 0, or 1 if its former folder is unknown."""
    root = Path.cwd()
    former_root = _former_root(root / ".venv/bin/demo")
    if former_root is None:
        return 1
    sys.stdout.write(f"this folder was {former_root}: relocating its Python environment\n")
    if former_root.exists():
        # The record of a run in a copy names processes of the other clone, which `demo down` would
        # end.
        (root / ".demo/run.json").unlink(missing_ok=True)
    for name in ENVIRONMENTS:
        for script in (root / name / "bin").glob("*"):
            if script.is_file() and not script.is_symlink():
                _relocate_script(script, root, former_root)
        for site_packages in (root / name).glob("lib/python*/site-packages"):
            for path in site_packages.glob("*.pth"):
                _relocate_path_file(path, root, former_root)
            for path in site_packages.glob("*.dist-info/direct_url.json"):
                _relocate_url(path, root, former_root)
    return 0


def _former_root(script: Path) -> Path | None:
    """Return the folder of the clone in which ``script`` was installed; None if it is unknown."""
    try:
        match = INTERPRETER.match(script.read_bytes())
    except OSError:
        return None
    return Path(match["root"].decode(errors="surrogateescape")) if match else None


def _relocate_script(script: Path, root: Path, former_root: Path) -> None:
    """Replace the interpreter of ``script``, and ``former_root`` in the ``activate`` scripts."""
    content = script.read_bytes()
    match = INTERPRETER.match(content)
    if match:
        interpreter = bytes(script.with_name("python"))
        if b" " in interpreter or len(interpreter) > MAX_INTERPRETER_LENGTH:
            quoted = b'"' + re.sub(rb'(["$`\\])', rb"\\\1", interpreter) + b'"'
            first_lines = b"#!/bin/sh\n'''exec' " + quoted + b' "$0" "$@"\n' + b"' '''\n"
        else:
            first_lines = b"#!" + interpreter + b"\n"
        script.write_bytes(first_lines + content[match.end() :])
    elif script.name.startswith("activate"):
        script.write_bytes(content.replace(bytes(former_root), bytes(root)))


def _relocate_path_file(path: Path, root: Path, former_root: Path) -> None:
    """Replace ``former_root`` in a ``.pth`` file, which holds one folder in each line."""
    content = path.read_bytes()
    relocated = re.sub(
        rb"(?m)^" + re.escape(bytes(former_root)) + rb"(?=/|$)",
        bytes(root).replace(b"\\", rb"\\"),
        content,
    )
    if relocated != content:
        path.write_bytes(relocated)


def _relocate_url(path: Path, root: Path, former_root: Path) -> None:
    """Replace the URL from which a package was installed, if it was the folder of the clone."""
    origin = json.loads(path.read_bytes())
    former_url = former_root.as_uri()
    if origin["url"] == former_url:
        origin["url"] = root.as_uri()
        path.write_text(json.dumps(origin), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
