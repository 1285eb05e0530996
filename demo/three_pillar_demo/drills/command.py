"""The commands below ``demo drill``, such as ``start``, ``hint``, ``answer`` and ``check``.

With them a person practises incidents in the afternoon instead of meeting them at night.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from three_pillar_demo.drills import (
    answer_choices,
    answers,
    background,
    catalogue,
    fault_files,
    session,
    verdict,
)
from three_pillar_demo.drills import check as drill_check
from three_pillar_demo.drills.catalogue import REASONS, Drill, DrillError
from three_pillar_demo.drills.choice import (
    NORMAL_OPERATION_S,
    choose_drill,
    default_normal_operation_s,
    running_mode,
)
from three_pillar_demo.load.checkout_client import CheckoutError
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.stack.components import BY_NAME, WEB

out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)
app = typer.Typer(help="Incident drills: start one, find its cause, answer.", no_args_is_help=True)


@contextmanager
def _errors_reported() -> Iterator[None]:
    """Print the DrillError, BackendError or CheckoutError of a block on stderr; exit with 1."""
    try:
        yield
    except (DrillError, BackendError, CheckoutError) as error:
        err.print(Text.assemble(("demo drill: ", "red"), str(error)))
        sys.exit(1)


@app.command("list")
def list_drills(
    *,
    faults: Annotated[
        bool,
        typer.Option("--faults", help="Also the faults that are active now, which may spoil one."),
    ] = False,
) -> None:
    """List all drills, and name the one that is running."""
    current = session.latest()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("drill", no_wrap=True)
    table.add_column("summary")
    table.add_column("modes", no_wrap=True)
    with _errors_reported():
        for drill in map(catalogue.load, catalogue.names()):
            table.add_row(drill.name, drill.pain, ", ".join(drill.modes))
    out.print(table)
    if current and current.active:
        drill_label = "a blind drill" if current.blind else current.drill
        out.print(f"\nRunning now: {drill_label}. `demo drill stop` ends it.")
    if faults:
        active_faults = [
            f"{service} {fault}" for service, fault in fault_files.active_faults().items()
        ]
        out.print(f"\nActive faults: {'; '.join(active_faults) or 'none'}")


@app.command()
def start(
    name: Annotated[str, typer.Argument(help="A drill; without a name, a random one.")] = "",
    *,
    blind: Annotated[
        bool, typer.Option("--blind", help="A random one, and do not show its name.")
    ] = False,
    normal_operation_s: Annotated[
        float | None,
        typer.Option(
            "--calm",
            min=0,
            max=600,
            help=(
                f"Seconds of normal operation first; {NORMAL_OPERATION_S:g}, "
                "and more after another drill."
            ),
        ),
    ] = None,
) -> None:
    """Send load and inject the fault; returns when you are paged."""
    with _errors_reported():
        drill, hidden = choose_drill(name, blind=blind)
        if normal_operation_s is None:
            normal_operation_s = default_normal_operation_s()
        current = background.start(out, drill, normal_operation_s, blind=hidden)
    _print_alert(drill, current)


def _print_alert(drill: Drill, current: session.DrillSession) -> None:
    """Print the alert to the person on call: the drill's story, its symptom, and the commands."""
    paged_at = time.strftime("  %H:%M:%S", time.localtime(current.paged_at))
    out.print(Text.assemble(("\n PAGER ", "bold white on red"), paged_at))
    out.print(f"\n{drill.story.strip()}\n\nSymptom: {drill.symptom.says}.\n")
    table = Table.grid(padding=(0, 2))
    table.add_row(
        Text("Investigate", "bold"),
        f"{WEB.address}, demo follow --last-error, demo status, "
        f"curl {BY_NAME['checkout'].address}/metrics",
    )
    table.add_row(Text("Hint", "bold"), "demo drill hint")
    table.add_row(Text("Answer", "bold"), "demo drill answer WHAT WHERE WHY")
    choices = answer_choices.choices_of(running_mode())
    for part in ("what", "where"):
        listing = answer_choices.listing(choices[part]) or ["one word"]
        table.add_row(Text(part.upper(), "bold"), "\n".join(listing))
    table.add_row(Text("WHY", "bold"), f"a reason: {', '.join(REASONS)}")
    table.add_row(Text("End", "bold"), "demo drill give-up, demo drill stop")
    out.print(table)


@app.command()
def hint() -> None:
    """Show the next of three hints; each is more specific than the one before."""
    with _errors_reported():
        number, text = session.next_hint()
    out.print(f"Hint {number} of 3: {text}")


@app.command()
def answer(
    words: Annotated[list[str] | None, typer.Argument(help="WHAT WHERE WHY, three words.")] = None,
    *,
    what: Annotated[str, typer.Option(help="A component, customers or the proxy.")] = "",
    where: Annotated[
        str, typer.Option(help="A component or its route, a version, a card, a metric or a header.")
    ] = "",
    why: Annotated[str, typer.Option(help="A reason, or a part of its name.")] = "",
) -> None:
    """Name the cause in three words; each word is graded by itself."""
    with _errors_reported():
        current, grade = answers.submit_answer(_answer_parts(words or [what, where, why]))
    for line in grade.lines:
        out.print(line, style="green" if " is right: " in line else "red")
    if not grade.solved:
        sys.exit(1)
    _print_summary(current)


def _answer_parts(words: list[str]) -> dict[str, str]:
    """Return a map from each of ``session.PARTS`` to its word in ``words``.

    Raises:
        DrillError: There are not three words, or one of them is empty.
    """
    if len(words) != len(session.PARTS) or not all(words):
        raise DrillError(
            "an answer has three words: demo drill answer WHAT WHERE WHY, "
            "for example: checkout 0.1.0 bad-input"
        )
    return dict(zip(session.PARTS, words, strict=True))


@app.command("give-up")
def give_up() -> None:
    """End the drill and show its cause."""
    with _errors_reported():
        _print_summary(session.end("given up"))


@app.command()
def stop() -> None:
    """End the drill without showing its cause, and remove its fault."""
    try:
        current = session.end("stopped")
    except DrillError:
        fault_files.clear()
        out.print("no drill is running")
        return
    background.wait_for_end(current)
    out.print("stopped; everything is restored")


def _print_summary(ended: session.DrillSession) -> None:
    """Print how the drill ended, and what its cause was; wait until everything is restored."""
    out.print()
    for line in verdict.verdict(ended, catalogue.load(ended.drill)).lines:
        out.print(line, soft_wrap=True)
    background.wait_for_end(ended)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A drill.")] = "",
    *,
    all_drills: Annotated[
        bool, typer.Option("--all", help="Every drill of the mode in which the stack runs.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show every condition with its value.")
    ] = False,
) -> None:
    """Check a drill without a person: its symptom and evidence must appear, its decoys must not."""
    with _errors_reported():
        mode = running_mode()
        drill_names = _names_to_check(name, all_drills=all_drills)
        drills = [catalogue.load(drill_name) for drill_name in drill_names]
        all_passed = True
        for drill in drills:
            passed = asyncio.run(_check_and_print(drill, mode, verbose=verbose))
            all_passed = all_passed and passed
    if not all_passed:
        sys.exit(1)


def _names_to_check(name: str, *, all_drills: bool) -> list[str]:
    """Return the names of the drills to check: ``name``, or all of them.

    Raises:
        DrillError: Both ``name`` and ``all_drills`` are given, or neither.
    """
    if bool(name) == all_drills:
        raise DrillError(
            "name one drill or all: `demo drill check NAME` or `demo drill check --all`"
        )
    return [name] if name else catalogue.names()


async def _check_and_print(drill: Drill, mode: str, *, verbose: bool) -> bool:
    """Check one drill, print the result, and return whether it passed.

    A drill that does not exist in ``mode`` is skipped and counts as passed.
    """
    if mode not in drill.modes:
        out.print(f"{drill.name:<18}skipped: exists in {', '.join(drill.modes)}", style="dim")
        return True
    async with connect.create_backends() as backends:
        verdict = await drill_check.check(drill, backends)
    passed = not verdict.problems
    result = Text("PASS", "green") if passed else Text("FAIL", "bold red")
    times = f"  symptom after {verdict.symptom_after_s:.1f} s, {verdict.duration_s:.1f} s in total"
    out.print(Text.assemble(f"{drill.name:<18}", result, times))
    if verbose:
        for line in verdict.figures:
            out.print(f"    {line}", soft_wrap=True)
    for line in verdict.problems:
        out.print(f"    {line}", style="red", soft_wrap=True)
    return passed
