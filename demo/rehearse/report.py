"""Says how rehearsals went: one table, what is wrong with each, or the same as JSON."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.rehearse.judge import Seen
from demo.rehearse.plan import Rehearsal
from demo.request.story import clean

HEADINGS = (
    "rehearsal",
    "verdict",
    "made",
    "stored",
    "lost",
    "twice",
    "dropped",
    "away s",
    "drained s",
    "errors",
    "p99 s",
    "MiB",
)


def report(played: Sequence[tuple[Seen, list[str]]], console: Console, *, as_json: bool) -> None:
    """Print what was seen and what is wrong with it."""
    if as_json:
        rows = [{**asdict(seen), "wrong": wrong} for seen, wrong in played]
        console.out(json.dumps({"passed": passed(played), "rehearsals": rows}, indent=2, default=str), highlight=False)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number in {0, 1, 4, 5, 6} else "right", overflow="fold")
    for seen, wrong in played:
        table.add_row(*_row(seen, wrong))
    console.print(table)
    for seen, wrong in played:
        said = [f"skipped: {seen.skipped}"] if seen.skipped else wrong
        for each in [*said, *_remarks(seen)]:
            style = "dim" if seen.skipped or each not in wrong else "red"
            console.print(Text.assemble((f"{seen.name}: ", "bold"), (clean(each, 600), style)), soft_wrap=True)
    console.print("\n[bold green]PASS[/]" if passed(played) else "\n[bold red]FAIL[/]")


def passed(played: Sequence[tuple[Seen, list[str]]]) -> bool:
    """Whether nothing is wrong; what had to be skipped is not."""
    return not any(wrong for seen, wrong in played if not seen.skipped)


def known(rehearsals: Sequence[Rehearsal], console: Console) -> None:
    """List what can be rehearsed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("rehearsal", "what is broken", "short", "long"):
        table.add_column(heading, justify="right" if heading in {"short", "long"} else "left")
    for each in rehearsals:
        unit = " s" if each.broken else " x"
        table.add_row(each.name, each.what, f"{each.short:g}{unit}" if each.short else "-", f"{each.long:g}{unit}")
    console.print(table)


def _row(seen: Seen, wrong: list[str]) -> list[str | Text]:
    if seen.skipped:
        return [seen.name, Text("skipped", "yellow")]
    verdict = Text("FAIL", "bold red") if wrong else Text("PASS", "green")
    p99 = f"{_number(seen.steady_p99, 2)} to {_number(seen.broken_p99, 2)}"
    stops = f", exit {max(seen.exits):.1f}" if seen.exits else ""
    return [
        seen.name,
        verdict,
        str(seen.made),
        str(seen.whole),
        _counts(seen.lost),
        _counts(seen.twice),
        _counts(seen.dropped),
        f"{seen.away:.0f}" if seen.away else f"{len(seen.exits)} stops{stops}",
        "-" if seen.drained is None else f"{seen.drained:.1f}",
        str(seen.errors + seen.begun_unanswered),
        p99,
        f"{seen.steady_mib:.0f} to {seen.most_mib:.0f}",
    ]


def _remarks(seen: Seen) -> list[str]:
    """What is worth to know, and not wrong."""
    away = [f"{seen.turned_away} customers found the door closed between a stop and the next start"] * bool(seen.turned_away)
    return [*away, *(f"while it was broken: {each}" for each in seen.states)]


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "0"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
