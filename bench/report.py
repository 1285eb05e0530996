"""Print the results of a benchmark as tables, and write them into docs/benchmarks.md."""

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
from rich.table import Table as RichTable

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
PACKAGES = (
    "fastapi",
    "uvicorn",
    "structlog",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-fastapi",
)
LOAD_BEFORE = os.getloadavg()
"""The load averages of the machine over 1, 5 and 15 minutes, read before the benchmark starts."""
WIDTH_WITHOUT_TERMINAL = 160


@dataclass(frozen=True)
class Table:
    """A table of results: the first column is text, the other columns are figures."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A section of docs/benchmarks.md between ``<!-- name -->`` and ``<!-- /name -->``."""

    name: str
    text: str
    tables: Sequence[Table]


def arguments(
    module: str, description: str | None, parts: Iterable[str] = (), *, quick: bool = True
) -> argparse.Namespace:
    """Parse the command line of a benchmark: ``--quick``, ``--write`` and names of ``parts``.

    ``quick`` is whether the benchmark has the option ``--quick``. An unknown argument prints the
    usage and ends the program with exit code 2.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    if quick:
        parser.add_argument("--quick", action="store_true", help="shorter, for development")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    names = ", ".join(parts)
    parser.add_argument("parts", nargs="*", help=f"of {names}" if names else argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in parts]
    if unknown:
        parser.error(f"{unknown[0]} is none of {names or 'its options'}")
    return options


def print_section(section: Section) -> None:
    """Print a section to the terminal; output to a file or a pipe is 160 characters wide."""
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    out.print(f"\n[bold]{section.name}[/]", section.text, sep="\n")
    for table in section.tables:
        out.print(_rich_table(table))
    out.print(environment(), style="dim")


def _rich_table(table: Table) -> RichTable:
    rich_table = RichTable(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=table.title or None,
        title_justify="left",
    )
    for number, heading in enumerate(table.headings):
        rich_table.add_column(heading, justify="right" if number else "left")
    for row in table.rows:
        rich_table.add_row(*row)
    return rich_table


def write_section(section: Section) -> None:
    """Replace the section with the name of ``section`` in docs/benchmarks.md.

    All other text is kept. If the page has no section of that name, the program ends.
    """
    parts = [section.text, *map(_markdown_table, section.tables), environment()]
    content = "\n\n".join(parts)
    begin = f"<!-- {section.name} -->"
    end = f"<!-- /{section.name} -->"
    page, replacements = re.subn(
        f"{begin}.*?{end}",
        lambda _: f"{begin}\n{content}\n{end}",
        PAGE.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if not replacements:
        raise SystemExit(f"{PAGE} has no section {begin} ... {end}")
    PAGE.write_text(page, encoding="utf-8")


def _markdown_table(table: Table) -> str:
    alignment = ["---"] + ["---:"] * (len(table.headings) - 1)
    lines = [f"| {' | '.join(row)} |" for row in (table.headings, alignment, *table.rows)]
    if table.title:
        lines = [f"**{table.title}**", "", *lines]
    return "\n".join(lines)


def environment() -> str:
    """Return one sentence with date, machine, load before the benchmark, and package versions."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    processor = model[1] if model else platform.machine()
    memory = psutil.virtual_memory().total / 1024**3
    kernel = platform.release().partition("-")[0]
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {psutil.cpu_count()} cores"
        f" ({processor}, {memory:.0f} GiB, {platform.system()} {kernel}),"
        f" load {LOAD_BEFORE[0]:.1f} before; Python {platform.python_version()}, {versions}."
    )
