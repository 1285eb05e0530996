"""Says how rehearsals went: one table, what is wrong with each, or the same as JSON."""

import json
import math
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from three_pillar_demo.chaos.judge import Observation, Verdict
from three_pillar_demo.chaos.plan import Rehearsal
from three_pillar_demo.terminal import printable

Played = list[tuple[Observation, Verdict]]
KINDS = ("spans", "lines", "counts")
BOOKS = ("rehearsal", "verdict", "made", "stored", "lost", "twice", "dropped", "drained s")
FELT = ("customers", "away s", "errors", "turned away", "p99 s", "p99 broken", "MiB", "most")


def report(played: Played, console: Console, *, as_json: bool) -> None:
    """Print what was seen and what is wrong with it: the books, what customers felt, and what is not as promised."""
    if as_json:
        rows = [{**vars(seen), **vars(verdict)} for seen, verdict in played]
        told = {"passed": passed(played), "rehearsals": rows}
        console.out(json.dumps(told, indent=2).replace("NaN", "null"), highlight=False)
        return
    for headings, row in ((BOOKS, _books), (FELT, _felt)):
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(
                heading,
                justify="left" if number == 0 or heading == "verdict" else "right",
                no_wrap=True,
            )
        for seen, verdict in played:
            table.add_row(
                seen.name, *([Text("skipped", "yellow")] if seen.skipped else row(seen, verdict))
            )
        console.print(table)
        console.print(
            f"[dim]lost, twice, dropped: {', '.join(KINDS)}[/]\n" if headings is BOOKS else ""
        )
    for seen, verdict in played:
        for each in [*verdict.wrong, *verdict.slow]:
            console.print(
                Text.assemble((f"{seen.name}: ", "bold"), (printable(each, 600), "red")),
                soft_wrap=True,
            )
        for each in _remarks(seen):
            console.print(
                Text.assemble((f"{seen.name}: ", "bold"), (printable(each, 600), "dim")),
                soft_wrap=True,
            )
    console.print("\n[bold green]PASS[/]" if passed(played) else "\n[bold red]FAIL[/]")


def passed(played: Played) -> bool:
    """Whether all is as promised; what had to be skipped is not against it."""
    return all(verdict.passed for _, verdict in played)


def known(rehearsals: Sequence[Rehearsal], console: Console) -> None:
    """List what can be rehearsed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("rehearsal", "what is broken", "short", "long"):
        table.add_column(heading, justify="right" if heading in {"short", "long"} else "left")
    for each in rehearsals:
        unit = " s" if each.broken else " x"
        table.add_row(
            each.name,
            each.what,
            f"{each.short:g}{unit}" if each.short else "-",
            f"{each.long:g}{unit}",
        )
    console.print(table)
    console.print(
        "\n[bold]demo rehearse NAME[/], or [bold]--all[/]; those of tempo, loki and prometheus need `demo up --full`."
    )


def _books(seen: Observation, verdict: Verdict) -> list[str | Text]:
    return [
        Text("PASS", "green") if verdict.passed else Text("FAIL", "bold red"),
        str(seen.made),
        str(seen.whole),
        *(_counts(each) for each in (seen.lost, seen.twice, seen.dropped)),
        "-" if seen.drained is None else f"{seen.drained:.1f}",
    ]


def _felt(seen: Observation, _verdict: Verdict) -> list[str | Text]:
    return [
        f"{seen.away:.1f}" if seen.away else "-",
        str(seen.errors + seen.begun_unanswered),
        str(seen.turned_away),
        _seconds(seen.steady_p99),
        _seconds(seen.broken_p99),
        f"{seen.steady_mib:.0f}",
        f"{seen.most_mib:.0f}",
    ]


def _remarks(seen: Observation) -> list[str]:
    """What is worth to know, and not wrong."""
    stops = (
        [f"{len(seen.exits)} stops, the slowest took {max(seen.exits):.1f} s"] if seen.exits else []
    )
    saw = [
        f"customers saw {', '.join(f'{count} {what}' for what, count in seen.answers.most_common())}"
    ]
    odd = saw if set(seen.answers) - {"success"} else []
    skipped = [f"skipped: {seen.skipped}"] if seen.skipped else []
    return [*skipped, *odd, *stops, *(f"while it was broken: {each}" for each in seen.states)]


def _counts(counts: Counter[str]) -> str:
    return ", ".join(str(counts[kind]) for kind in KINDS) if counts.total() else "0"


def _seconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
