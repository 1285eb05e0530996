"""The report of ``demo verify``: a table for people, or JSON."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from three_pillar_demo.verify.check import Check

MAX_LINES = 10
"""Lines of one check that are printed; the JSON has all."""
VERDICTS = {True: "[green]PASS[/]", False: "[bold red]FAIL[/]", None: "[dim]-[/]"}


def passed(checks: list[Check]) -> bool:
    """Return whether no check failed; a check that could not be judged did not fail."""
    return all(check.passed is not False for check in checks)


def report(checks: list[Check], console: Console, *, as_json: bool) -> None:
    """Print the verdicts and what is missing, by id."""
    if as_json:
        result = {"passed": passed(checks), "checks": [asdict(check) for check in checks]}
        console.out(json.dumps(result, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "verdict", "figures"):
        table.add_column(heading)
    for check in checks:
        table.add_row(check.name, VERDICTS[check.passed], check.figures)
    console.print(table)
    for check in checks:
        if check.missing:
            _print_missing(check, console)
    console.print("\n[bold green]PASS[/]" if passed(checks) else "\n[bold red]FAIL[/]")


def _print_missing(check: Check, console: Console) -> None:
    count = len(check.missing)
    console.print(f"\n[bold]{check.name}[/], {count} wrong:")
    for line in check.missing[:MAX_LINES]:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if count > MAX_LINES:
        console.print(f"  ... and {count - MAX_LINES} more: --json lists all")
