"""The guided first run: starts what is not running, buys, proves it in three pillars, and tells the story of one failure."""

import io
import time

import httpx2
from rich.console import Console
from rich.text import Text

from three_pillar_demo.load import checkout_client
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.stack import background, components, state
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.terminal import progress_messages
from three_pillar_demo.trace_view.follow import gather
from three_pillar_demo.trace_view.render import Drawing
from three_pillar_demo.verify import verify
from three_pillar_demo.verify.ledger import Ledger

COUNT, RATE = 30, 15.0
TELLING = ("gateway_timeout", "payment_slow", "payment_crashed")
"""Outcomes whose story is worth telling first, the best one first."""
NEXT = (
    ("Next", "make checkout, make follow", "buy again, read why the newest failed"),
    ("Look", "README.md, docs/local-store.md", "what this was, and the tables behind it"),
    ("Stop", "make down", "what was told stays for the next start"),
    ("Page", components.WEB.address, "buy, watch, and read why, in a browser"),
)


async def tour(out: Console, err: Console) -> bool:
    """Take the tour; returns whether everything was proven.

    Raises:
        LaunchError: The stack did not start.
        BackendError, ShopError, NotThereError: It does not answer.
    """
    _start(out, err)
    async with connect.backends() as backends:
        with progress_messages(err) as say:
            verdicts, bought = await verify.prove(backends, COUNT, RATE, None, say)
        verify.report(verdicts, out, as_json=False)
        told = await _story(backends, bought, out, err)
    out.print()
    for word, command, what in NEXT:
        out.print(Text.assemble((f"{word:<6}", "bold"), f"{command:<29}", (what, "dim")))
    return verify.passed(verdicts) and told


def _start(out: Console, err: Console) -> None:
    """Start the embedded stack in the background, unless somebody sells already."""
    if state.running() or _sells():
        out.print(f"Using the stack that runs: {state.mode() or 'compose'}.\n")
        return
    names = ", ".join(each.name for each in components.MODES[components.DEFAULT])
    began, heard = time.monotonic(), io.StringIO()
    try:
        with progress_messages(err) as say:
            say(f"starting {names}")
            background.start(Console(file=heard, width=err.width), components.DEFAULT)
    except LaunchError:
        err.print(heard.getvalue(), markup=False)
        raise
    out.print(f"Started {names} in {time.monotonic() - began:.1f} s. Now {COUNT} purchases.\n")


def _sells() -> bool:
    try:
        return httpx2.get(
            f"{checkout_client.CHECKOUT_URL}/healthz", timeout=1.0, trust_env=False
        ).is_success
    except httpx2.HTTPError:
        return False


async def _story(backends: Backends, bought: Ledger, out: Console, err: Console) -> bool:
    """Draw one failed purchase; False when none failed."""
    by_outcome = {each.outcome: each.trace_id for each in bought.purchases}
    trace_id = next((by_outcome[outcome] for outcome in TELLING if outcome in by_outcome), None)
    if trace_id is None:
        return False
    with progress_messages(err) as say:
        story = await gather(backends, trace_id, lambda reason: say(f"waiting for {reason}"))
    out.print(
        "\nOne of the failures, from its trace, its log lines and its exemplars:\n", style="bold"
    )
    out.print(Drawing(story))
    return True
