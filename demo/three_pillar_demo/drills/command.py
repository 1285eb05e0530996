"""``demo drill``: be woken at three in the afternoon instead of at night."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from three_pillar_demo.drills import background, catalogue, session
from three_pillar_demo.drills import check as checking
from three_pillar_demo.drills import faults as drill_faults
from three_pillar_demo.drills.catalogue import WHY, Drill, DrillError
from three_pillar_demo.load.checkout_client import ShopError
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import WEB

out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)
CALM, WINDOW = 12.0, 30.0
"""Seconds before something happens; and those that the page's rates look back."""
app = typer.Typer(help="Incidents to find the cause of: start, look, answer.", no_args_is_help=True)


@contextmanager
def _telling() -> Iterator[None]:
    """Say what is in the way in a sentence, without a traceback."""
    try:
        yield
    except (DrillError, BackendError, ShopError) as error:
        err.print(Text.assemble(("demo drill: ", "red"), str(error)))
        sys.exit(1)


def _mode() -> str:
    if (mode := state.mode()) is None:
        raise DrillError(
            "a drill is played on a stack that runs here: `demo up --detach` starts one"
        )
    return mode


@app.command("list")
def show(
    *,
    faults: Annotated[
        bool, typer.Option("--faults", help="Also what is turned on now; it may give away.")
    ] = False,
) -> None:
    """Name the drills, and the one that is played."""
    notes = session.last()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("drill", "what hurts", "on"):
        table.add_column(heading, no_wrap=heading != "what hurts")
    with _telling():
        for drill in map(catalogue.load, catalogue.names()):
            table.add_row(drill.name, drill.pain, ", ".join(drill.modes))
    out.print(table)
    if notes and notes.living:
        out.print(
            f"\nPlayed now: {'one of them' if notes.blind else notes.drill}. `demo drill stop` ends it."
        )
    if faults:
        found = drill_faults.on()
        out.print(
            "\nTurned on: "
            + ("; ".join(f"{name} {fault}" for name, fault in found.items()) or "nothing")
        )


@app.command()
def start(
    name: Annotated[str, typer.Argument(help="A drill; one at random without a name.")] = "",
    *,
    blind: Annotated[bool, typer.Option("--blind", help="One at random, and not by name.")] = False,
    calm: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=600,
            help=f"Seconds in which all is well, for the charts; {CALM:g}, and more after another drill.",
        ),
    ] = None,
) -> None:
    """Bring customers and the fault; returns when you are paged."""
    with _telling():
        drill, hidden = chosen(name, blind=blind)
        notes = background.start(out, drill, calm_seconds() if calm is None else calm, blind=hidden)
    _page(drill, notes)


def calm_seconds() -> float:
    """Seconds in which all is well: what another drill left in the rates has to go first."""
    notes = session.last()
    return max(CALM, WINDOW - (time.time() - notes.ended) if notes and notes.ended else 0.0)


def _page(drill: Drill, notes: session.DrillSession) -> None:
    out.print(
        Text.assemble(
            ("\n PAGER ", "bold white on red"),
            time.strftime("  %H:%M:%S", time.localtime(notes.paged)),
        )
    )
    out.print(f"\n{drill.story.strip()}\n\nSeen: {drill.symptom.says}.\n")
    table = Table.grid(padding=(0, 2))
    for word, said in (
        (
            "Look",
            f"{WEB.address}, demo follow --last-error, demo status, curl localhost:8000/metrics",
        ),
        ("Help", "demo drill hint"),
        (
            "Answer",
            "demo drill answer WHAT WHERE WHY: a component, or customers; a service, route, version, metric or card; a reason",
        ),
        ("Reasons", ", ".join(WHY)),
        ("End", "demo drill give-up, demo drill stop"),
    ):
        table.add_row(Text(word, "bold"), said)
    out.print(table)


def chosen(name: str, *, blind: bool) -> tuple[Drill, bool]:
    """The drill of that name, or one of those that were played least; and whether its name stays hidden."""
    mode = _mode()
    if name and not blind:
        drill = catalogue.load(name)
        if mode not in drill.modes:
            raise DrillError(f"{name} is played on: {', '.join(drill.modes)}; what runs is {mode}")
        return drill, False
    fit = [each for each in map(catalogue.load, catalogue.names()) if mode in each.modes]
    played = Counter(session.played())
    fewest = min(played[each.name] for each in fit)
    return random.choice([each for each in fit if played[each.name] == fewest]), True  # noqa: S311  (a game)


@app.command()
def hint() -> None:
    """One of three, from vague to plain."""
    with _telling():
        number, said = session.hint()
    out.print(f"{number} of 3: {said}")


@app.command()
def answer(
    words: Annotated[list[str] | None, typer.Argument(help="WHAT WHERE WHY, three words.")] = None,
    *,
    what: Annotated[str, typer.Option(help="The component, or customers.")] = "",
    where: Annotated[str, typer.Option(help="The service, route, version or card.")] = "",
    why: Annotated[str, typer.Option(help="A reason, or a part of its name.")] = "",
) -> None:
    """Say what it is; each part is graded."""
    with _telling():
        notes, grade = session.answer(_parts(words or [what, where, why]))
    for line in grade.said:
        out.print(line, style="green" if line.endswith("right") else "red")
    if not grade.solved:
        sys.exit(1)
    _over(notes)


def _parts(words: list[str]) -> dict[str, str]:
    if len(words) != len(session.PARTS) or not all(words):
        raise DrillError(
            "an answer is three words: demo drill answer WHAT WHERE WHY, like: checkout basket bad-input"
        )
    return dict(zip(session.PARTS, words, strict=True))


@app.command("give-up")
def give_up() -> None:
    """End it and be told."""
    with _telling():
        _over(session.end("given up"))


@app.command()
def stop() -> None:
    """End it; nothing of the fault is left."""
    try:
        notes = session.end("stopped")
    except DrillError:
        drill_faults.clear()
        out.print("no drill is being played")
        return
    background.wait_for_end(notes)
    out.print("stopped; the shop is as it was")


def _over(notes: session.DrillSession) -> None:
    out.print()
    for line in session.report(notes, catalogue.load(notes.drill)):
        out.print(line, soft_wrap=True)
    background.wait_for_end(notes)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A drill.")] = "",
    *,
    every: Annotated[
        bool, typer.Option("--all", help="All that can be played on what runs.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Every question with its figure.")
    ] = False,
) -> None:
    """Play without a person: the symptom comes, the evidence is found, the decoys are not, all is put back."""
    with _telling():
        mode = _mode()
        drills = [catalogue.load(each) for each in _asked(name, every=every)]
        failed = [each for each in drills if not asyncio.run(_checked(each, mode, verbose=verbose))]
    if failed:
        sys.exit(1)


def _asked(name: str, *, every: bool) -> list[str]:
    if bool(name) == every:
        raise DrillError("which? `demo drill check NAME`, or `demo drill check --all`")
    return [name] if name else catalogue.names()


async def _checked(drill: Drill, mode: str, *, verbose: bool) -> bool:
    if mode not in drill.modes:
        out.print(f"{drill.name:<18}skipped: played on {', '.join(drill.modes)}", style="dim")
        return True
    async with connect.backends() as backends:
        verdict = await checking.check(drill, backends)
    good = not verdict.problems
    result = Text("PASS", "green") if good else Text("FAIL", "bold red")
    out.print(
        Text.assemble(
            f"{drill.name:<18}",
            result,
            f"  symptom after {verdict.symptom:.1f} s, {verdict.took:.1f} s in all",
        )
    )
    for each in verdict.figures if verbose else []:
        out.print(f"    {each}", soft_wrap=True)
    for each in verdict.problems:
        out.print(f"    {each}", style="red", soft_wrap=True)
    return good
