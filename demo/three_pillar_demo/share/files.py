"""Writes a trace to files: as an HTML page, and as OTLP JSON."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console

from three_pillar_demo.query.interface import Backends
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.otlp_export import otlp_lines
from three_pillar_demo.trace_view.view import TraceView

STDOUT = "-"
"""The name of a file that stands for stdout."""


@dataclass(frozen=True)
class TraceFiles:
    """The files to write a trace to; "" for a file that is not wanted.

    A file that exists already is only replaced if ``force`` is True.
    """

    html: str = ""
    otlp: str = ""
    force: bool = False

    def __bool__(self) -> bool:
        """Return True if a file is wanted."""
        return bool(self.html or self.otlp)

    def problem(self) -> str:
        """Return why the files cannot be written, before the trace is fetched; "" if they can."""
        if self.html and self.otlp and _are_same(self.html, self.otlp):
            return "--html and --otlp need two different files"
        for name in filter(None, (self.html, self.otlp)):
            path = Path(name)
            if name == STDOUT:
                continue
            if path.is_dir():
                return f"{name} is a folder"
            if path.is_file() and not self.force:
                return f"{name} exists already: choose another name, or add --force to replace it"
            if not path.parent.is_dir():
                return f"the folder {path.parent} does not exist"
        return ""

    async def write(self, backends: Backends, view: TraceView) -> None:
        """Write the files, and name each on stderr with its contents and its size.

        Raises:
            OSError: A file cannot be written. Nothing is left of it, and an earlier file of its
                name stays as it was.
        """
        err = Console(stderr=True, highlight=False, soft_wrap=True)
        contents: list[tuple[str, Callable[[], str]]] = []
        if self.html:
            # It imports the templates of the web UI, which `demo follow` alone does not need.
            from three_pillar_demo.web.standalone import request_file  # noqa: PLC0415

            html = await request_file(backends, view)
            contents.append((self.html, lambda: html))
        if self.otlp:
            contents.append((self.otlp, lambda: "".join(f"{line}\n" for line in otlp_lines(view))))
        for name, content in contents:
            size_bytes = self._write(name, content().encode(errors="replace"))
            if name != STDOUT:
                err.print(_summary(name, view, size_bytes), markup=False)

    def _write(self, name: str, content: bytes) -> int:
        if name == STDOUT:
            sys.stdout.buffer.write(content)
            sys.stdout.flush()
            return len(content)
        path = Path(name)
        if path.exists() and not path.is_file():  # a pipe or a device cannot be replaced
            return path.write_bytes(content)
        if self.force and path.exists():
            _replace(path, content)
        else:
            with path.open("xb") as file:
                _write_or_remove(file, path, content)
        return len(content)


def _are_same(name: str, other_name: str) -> bool:
    """Return whether two names stand for one file, which need not exist."""
    if STDOUT in {name, other_name}:
        return name == other_name
    path = Path(name)
    other = Path(other_name)
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def _replace(path: Path, content: bytes) -> None:
    """Replace the file at ``path``, or the one that the link there points to, at once.

    Raises:
        OSError: This is not possible; the file stays as it was.
    """
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=".demo-follow-", dir=target.parent)
    draft = Path(name)
    with os.fdopen(descriptor, "wb") as file:
        _write_or_remove(file, draft, content)
    try:
        shutil.copymode(target, draft)
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _write_or_remove(file: IO[bytes], path: Path, content: bytes) -> None:
    try:
        file.write(content)
        file.flush()
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _summary(name: str, view: TraceView, size_bytes: int) -> str:
    services = {span.service for span in view.spans} | {record.service for record in view.logs}
    counts = [
        f"{count:,} {noun}{'' if count == 1 else 's'}"
        for count, noun in (
            (len(view.spans), "span"),
            (len(view.logs), "log line"),
            (len(services), "service"),
        )
    ]
    return f"{printable(name)}: {', '.join(counts)}, {size_bytes / 1024:,.0f} KiB"
