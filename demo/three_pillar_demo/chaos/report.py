"""Prints the results of rehearsals, as two tables and lines of problems or as one JSON object."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from three_pillar_demo.chaos.judge import Observation, Verdict
from three_pillar_demo.chaos.kinds import KINDS, label
from three_pillar_demo.chaos.plan import Rehearsal
from three_pillar_demo.terminal import printable

Results = list[tuple[Observation, Verdict]]
"""For each rehearsal what it observed, and the verdict."""
Cell = str | Text
RowFunction = Callable[[Observation, Verdict], list[Cell]]
"""A function that returns the cells of a table row, without the name of the rehearsal."""

# Both tables fit into 80 columns beside the longest name.
AUDIT_COLUMNS = (
    "rehearsal",
    "verdict",
    "made",
    "stored",
    "lost",
    "duplicate",
    "dropped",
    "drain s",
)
SERVICE_COLUMNS = (
    "rehearsal",
    "fault s",
    "errors",
    "refused",
    "p99 s",
    "fault p99 s",
    "MiB",
    "peak MiB",
)
LEFT_COLUMNS = {"rehearsal", "verdict"}
"""The columns that are aligned to the left; all others are aligned to the right."""
MAX_LINE_CHARACTERS = 600
"""The number of characters after which a line of problems is cut."""


def report(results: Results, console: Console, *, as_json: bool) -> None:
    """Print the results on ``console``: what was observed, and what is not as expected."""
    if as_json:
        _print_json(results, console)
        return
    _print_table(results, console, AUDIT_COLUMNS, _audit_row)
    kinds = ", ".join(map(label, KINDS))
    console.print(f"[dim]made, stored: purchases; lost, duplicate, dropped: {kinds}[/]\n")
    _print_table(results, console, SERVICE_COLUMNS, _service_row)
    console.print()
    for observed, verdict in results:
        for problem in [*verdict.problems, *verdict.slow]:
            _print_line(console, observed.name, problem, "red")
        for remark in _remarks(observed):
            _print_line(console, observed.name, remark, "dim")
    result = "[bold green]PASS[/]" if passed(results) else "[bold red]FAIL[/]"
    console.print(f"\n{result}")


def _print_json(results: Results, console: Console) -> None:
    """Print the results as one JSON object."""
    rehearsals = [
        {
            **vars(observed),
            "answers": vars(observed.answers) if observed.answers else None,
            **vars(verdict),
        }
        for observed, verdict in results
    ]
    document = {"passed": passed(results), "rehearsals": rehearsals}
    # JSON has no NaN: an unknown time is null.
    console.out(json.dumps(document, indent=2).replace("NaN", "null"), highlight=False)


def _print_table(
    results: Results, console: Console, columns: Sequence[str], row: RowFunction
) -> None:
    """Print a table with one row for each rehearsal; ``row`` returns its cells after the name."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column, justify="left" if column in LEFT_COLUMNS else "right", no_wrap=True
        )
    for observed, verdict in results:
        cells = [Text("skipped", "yellow")] if observed.skipped else row(observed, verdict)
        table.add_row(observed.name, *cells)
    console.print(table)


def _print_line(console: Console, name: str, text: str, style: str) -> None:
    """Print ``text`` in ``style`` on one line, after the name of the rehearsal."""
    line = Text.assemble((f"{name}: ", "bold"), (printable(text, MAX_LINE_CHARACTERS), style))
    console.print(line, soft_wrap=True)


def passed(results: Results) -> bool:
    """Return whether all rehearsals passed; one that was skipped counts as passed."""
    return all(verdict.passed for _, verdict in results)


def list_rehearsals(rehearsals: Sequence[Rehearsal], console: Console) -> None:
    """Print a table of the rehearsals, with the fault and the length of the short and long form."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rehearsal")
    table.add_column("fault")
    table.add_column("short", justify="right")
    table.add_column("long", justify="right")
    for rehearsal in rehearsals:
        unit = "s" if rehearsal.fault else "stops"
        short = f"{rehearsal.short:g} {unit}" if rehearsal.short else "-"
        table.add_row(rehearsal.name, rehearsal.description, short, f"{rehearsal.long:g} {unit}")
    console.print(table)
    console.print(
        "\n[bold]demo rehearse NAME[/] runs one, [bold]--all[/] runs all. "
        "Those of tempo, loki and prometheus need `demo up --full`, those that kill one process of "
        "several `demo up --cluster`."
    )


def _audit_row(observed: Observation, verdict: Verdict) -> list[Cell]:
    """Return the cells for ``AUDIT_COLUMNS``, without the first (the name of the rehearsal)."""
    return [
        Text("PASS", "green") if verdict.passed else Text("FAIL", "bold red"),
        str(observed.purchases),
        str(observed.complete),
        _by_kind(observed.lost),
        _by_kind(observed.duplicated),
        _by_kind(observed.dropped),
        "-" if observed.drained_s is None else f"{observed.drained_s:.1f}",
    ]


def _service_row(observed: Observation, _verdict: Verdict) -> list[Cell]:
    """Return the cells for ``SERVICE_COLUMNS``, without the first (the name of the rehearsal)."""
    return [
        f"{observed.fault_s:.1f}" if observed.fault_s else "-",
        str(observed.errors + observed.unanswered),
        str(observed.refused),
        _seconds(observed.steady_p99_s),
        _seconds(observed.fault_p99_s),
        f"{observed.steady_mib:.0f}",
        f"{observed.peak_mib:.0f}",
    ]


def _remarks(observed: Observation) -> list[str]:
    """Return lines of information about a rehearsal, which are printed below its problems.

    They say why the rehearsal was skipped, and list outcomes, stops, answers of the stores and
    reports of the fault.
    """
    remarks = []
    if observed.skipped:
        remarks.append(f"skipped: {observed.skipped}")
    if set(observed.outcomes) - {"success"}:
        outcomes = [f"{count} {outcome}" for outcome, count in observed.outcomes.most_common()]
        remarks.append(f"outcomes: {', '.join(outcomes)}")
    if observed.stop_durations_s:
        durations = observed.stop_durations_s
        remarks.append(f"{len(durations)} stops, the slowest took {max(durations):.1f} s")
    if answers := observed.answers:
        remarks.append(
            f"answers of the stores: {answers.whole} whole, {answers.refused} refused with an "
            f"error, {answers.partial} partial"
        )
        remarks.append(
            f"exemplars lead to {observed.exemplars} traces; "
            f"{len(observed.dead_exemplars)} of these are not stored"
        )
    remarks += [f"during the fault: {text}" for text in observed.reports]
    return remarks


def _by_kind(counts: Counter[str]) -> str:
    """Return the counts of all kinds, separated by commas, or a single 0 if all are 0."""
    return ", ".join(str(counts[kind]) for kind in KINDS) if counts.total() else "0"


def _seconds(seconds: float) -> str:
    """Return a duration with two decimals, or a dash if it is unknown (NaN)."""
    return "-" if math.isnan(seconds) else f"{seconds:.2f}"
