"""The command ``demo tour``, the guided first run.

If no stack is running, the tour starts one. Then it sends purchases, checks that all three pillars
(traces, logs and metrics) have all of these purchases, and prints the trace of a failed purchase.
"""

import io
import time

import httpx2
from rich.console import Console
from rich.text import Text

from three_pillar_demo.load import checkout_client
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.stack import background, components, state
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.terminal import progress_messages
from three_pillar_demo.trace_view.gather import gather
from three_pillar_demo.trace_view.render import Drawing
from three_pillar_demo.verify.ledger import Ledger
from three_pillar_demo.verify.report import passed, report
from three_pillar_demo.verify.verify import verify_with

PURCHASES = 30
"""The number of purchases that the tour sends."""
RATE = 15.0
"""The rate of the tour's purchases, per second."""
SHOWN_OUTCOMES = ("gateway_timeout", "payment_slow", "payment_crashed")
"""The outcomes of failed purchases that the tour can show, the most instructive first."""
NEXT_STEPS = (
    ("Next", "make checkout, make follow", "buy again, read why the newest failed"),
    ("Read", "README.md, docs/README.md", "what you have seen, and what to do next"),
    ("Stop", "make down", "stored telemetry is kept for the next start"),
)
"""The last lines but one of the output: a heading, what to run or read, and the reason to do so."""


async def tour(out: Console, err: Console) -> bool:
    """Run the tour, and return whether it succeeded.

    The tour has succeeded if every check of the purchases passed and the trace of a failed purchase
    was printed.

    Raises:
        LaunchError: The stack did not start.
        BackendError: A backend does not answer.
        CheckoutError: Checkout does not answer.
        NotFoundError: The trace of the failed purchase was not found.
    """
    _start_stack(out, err)
    async with connect.create_backends() as backends:
        with progress_messages(err) as report_step:
            checks, ledger = await verify_with(backends, PURCHASES, RATE, None, report_step)
        report(checks, out, as_json=False)
        failure_shown = await _show_failure(backends, ledger, out, err)
    out.print()
    web_ui = ("Web UI", components.WEB.address, "buy, watch, and read why, in a browser")
    for heading, command, purpose in (*NEXT_STEPS, web_ui):
        out.print(Text.assemble((f"{heading:<8}", "bold"), f"{command:<29}", (purpose, "dim")))
    return passed(checks) and failure_shown


def _start_stack(out: Console, err: Console) -> None:
    """Start the local stack in the background, unless a stack is already running.

    Raises:
        LaunchError: The stack did not start.
    """
    # The checkout of another clone may answer on the default port. Only compose, which records no
    # run, is recognised by what answers.
    if state.running() or (connect.running_mode() == "compose" and _checkout_answers()):
        out.print(f"Using the stack that runs: {state.mode() or 'compose'}.\n")
        return
    names = ", ".join(component.name for component in components.MODES[components.DEFAULT])
    started_at = time.monotonic()
    output = io.StringIO()
    try:
        with progress_messages(err) as report_step:
            report_step(f"starting {names}")
            background.start(Console(file=output, width=err.width), components.DEFAULT)
    except LaunchError:
        err.print(output.getvalue(), markup=False)
        raise
    seconds = time.monotonic() - started_at
    for line in output.getvalue().splitlines():
        if line.startswith("port "):  # Another one is used, because the default is in use.
            out.print(line, style="yellow", markup=False, soft_wrap=True)
    out.print(f"Started {names} in {seconds:.1f} s. Now {PURCHASES} purchases.\n")


def _checkout_answers() -> bool:
    url = f"{checkout_client.checkout_url()}/healthz"
    try:
        return httpx2.get(url, timeout=1.0, trust_env=False, verify=NO_CERTIFICATES).is_success
    except httpx2.HTTPError:
        return False


async def _show_failure(backends: Backends, ledger: Ledger, out: Console, err: Console) -> bool:
    """Print the trace of one purchase whose outcome is in ``SHOWN_OUTCOMES``.

    Return True if the trace was printed, and False if there is no such purchase.
    """
    trace_ids = {purchase.outcome: purchase.trace_id for purchase in ledger.purchases}
    outcomes = [outcome for outcome in SHOWN_OUTCOMES if outcome in trace_ids]
    if not outcomes:
        return False
    with progress_messages(err) as report_step:
        view = await gather(
            backends,
            trace_ids[outcomes[0]],
            lambda reason: report_step(f"waiting for {reason}"),
        )
    out.print(
        "\nOne of the failures, from its trace, its log records and its exemplars:\n", style="bold"
    )
    out.print(Drawing(view))
    return True
