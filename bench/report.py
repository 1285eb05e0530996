"""What was measured, as a table in the terminal and in ``docs/benchmarks.md``, with the machine, the versions and the date."""

import argparse
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table as Drawn

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
PACKAGES = (
    "fastapi",
    "uvicorn",
    "structlog",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-fastapi",
)
BEGAN = os.getloadavg()
"""How busy the machine was before anything was measured."""


@dataclass(frozen=True)
class Table:
    """Rows under headings; the first column is text, the others are figures."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """One part of the page, between ``<!-- name -->`` and ``<!-- /name -->``."""

    name: str
    words: str
    tables: Sequence[Table]


def arguments(
    module: str, about: str | None, which: Iterable[str] = (), *, quick: bool = True
) -> argparse.Namespace:
    """Read what a measurement is told: ``quick``, ``write``, and ``which`` of its parts; anything else ends it with a word."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    if quick:
        parser.add_argument(
            "--quick", action="store_true", help="shorter, for use while developing"
        )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument(
        "which", nargs="*", help=f"of {', '.join(which)}" if which else argparse.SUPPRESS
    )
    said = parser.parse_args()
    if unknown := [each for each in said.which if each not in which]:
        parser.error(f"{unknown[0]} is none of {', '.join(which) or 'its options'}")
    return said


def draw(section: Section) -> None:
    """Print it; not wrapped where the output is no terminal."""
    out = Console(highlight=False)
    out = out if out.is_terminal else Console(highlight=False, width=160)
    out.print(f"\n[bold]{section.name}[/]", section.words, sep="\n")
    for table in section.tables:
        drawn = Drawn(
            box=None,
            pad_edge=False,
            header_style="bold",
            title=table.title or None,
            title_justify="left",
        )
        for number, heading in enumerate(table.headings):
            drawn.add_column(heading, justify="right" if number else "left")
        for row in table.rows:
            drawn.add_row(*row)
        out.print(drawn)
    out.print(machine(), style="dim")


def write(section: Section) -> None:
    """Put it into its place on the page; what stands around it is written by people."""
    parts = [section.words]
    for table in section.tables:
        rows = [table.headings, ["---"] + ["---:"] * (len(table.headings) - 1), *table.rows]
        parts.append(
            "\n".join(
                ([f"**{table.title}**", ""] if table.title else [])
                + [f"| {' | '.join(row)} |" for row in rows]
            )
        )
    parts.append(machine())
    between = "\n\n".join(parts)
    begin, end = f"<!-- {section.name} -->", f"<!-- /{section.name} -->"
    page, found = re.subn(
        f"{begin}.*?{end}",
        lambda _: f"{begin}\n{between}\n{end}",
        PAGE.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if not found:
        raise SystemExit(f"{PAGE} has no place {begin} ... {end}")
    PAGE.write_text(page, encoding="utf-8")


def machine() -> str:
    """Where and when, with what, and how busy the machine was with other things before."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    cores, memory = psutil.cpu_count(), psutil.virtual_memory().total / 1024**3
    with_what = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {cores} cores ({model[1] if model else platform.machine()}, "
        f"{memory:.0f} GiB, {platform.system()} {platform.release().partition('-')[0]}), load {BEGAN[0]:.1f} before; "
        f"Python {platform.python_version()}, {with_what}."
    )
