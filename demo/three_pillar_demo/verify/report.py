"""Prints the results of ``demo verify`` as a table for people or as JSON."""

import json

from rich.console import Console
from rich.table import Table

from three_pillar_demo.verify.check import Check

MAX_PRINTED_PROBLEMS = 10
"""The number of problems of one check that are printed; the JSON has all of them."""
VERDICTS = {True: "[green]PASS[/]", False: "[bold red]FAIL[/]", None: "[dim]-[/]"}
"""The printed verdict, in rich's markup, by ``Check.passed``."""


def passed(checks: list[Check]) -> bool:
    """Return True if no check failed. A check that could not be judged has not failed."""
    return all(check.passed is not False for check in checks)


def report(checks: list[Check], console: Console, *, as_json: bool) -> None:
    """Print the verdict and the figures of each check, then the problems of each check.

    With ``as_json``, print them as one JSON object instead.
    """
    if as_json:
        result = {"passed": passed(checks), "checks": [_as_json_object(check) for check in checks]}
        console.out(json.dumps(result, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "verdict", "figures"):
        table.add_column(heading)
    for check in checks:
        table.add_row(check.name, VERDICTS[check.passed], check.figures)
    console.print(table)
    for check in checks:
        if check.problems:
            _print_problems(check, console)
    console.print("\n[bold green]PASS[/]" if passed(checks) else "\n[bold red]FAIL[/]")


def _as_json_object(check: Check) -> dict[str, object]:
    """Return the JSON object of a check; its key ``missing`` holds the problems."""
    return {
        "name": check.name,
        "passed": check.passed,
        "figures": check.figures,
        "missing": check.problems,
    }


def _print_problems(check: Check, console: Console) -> None:
    count = len(check.problems)
    console.print(f"\n[bold]{check.name}[/], {count} wrong:")
    for line in check.problems[:MAX_PRINTED_PROBLEMS]:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if count > MAX_PRINTED_PROBLEMS:
        console.print(f"  ... and {count - MAX_PRINTED_PROBLEMS} more: --json lists all")
