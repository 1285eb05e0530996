"""The ``demo`` command."""

import asyncio
import io
import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from three_pillar_demo import tour as touring
from three_pillar_demo.chaos import plan, report
from three_pillar_demo.chaos import run as rehearsing
from three_pillar_demo.drills import command as drills
from three_pillar_demo.load import buy
from three_pillar_demo.load import traffic as playing
from three_pillar_demo.load.checkout_client import ShopError
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.stack import background, control, launcher, state
from three_pillar_demo.stack.binaries import BuildError
from three_pillar_demo.stack.components import DEFAULT
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view import follow as following
from three_pillar_demo.verify import verify as verifying

app = typer.Typer(
    help="One checkout, followed through traces, logs and metrics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(drills.app, name="drill")
for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(
            errors="replace"
        )  # a terminal that cannot show a tick gets a question mark, not a traceback
out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def tour() -> None:
    """Start what is not running, buy, prove it in three pillars, and follow one failure."""
    try:
        proven = asyncio.run(touring.tour(out, err))
    except (
        LaunchError,
        state.RunningError,
        BackendError,
        ShopError,
        following.NotThereError,
    ) as error:
        _fail("tour", error)
    if not proven:
        sys.exit(1)


@app.command()
def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="On the real Collector, Prometheus, Tempo and Loki.")
    ] = False,
) -> None:
    """Start the whole stack, by default with Python alone; Ctrl-C stops it."""
    mode = "full" if full else DEFAULT
    try:
        if detach:
            background.start(out, mode)
        else:
            launcher.Launcher(out, mode).up()
    except (LaunchError, state.RunningError, BuildError) as error:
        _fail("up", error)


@app.command()
def down() -> None:
    """Stop the stack, wherever it was started."""
    try:
        background.stop(out)
    except LaunchError as error:
        _fail("down", error)


@app.command()
def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False
) -> None:
    """Show each component; exits non-zero unless all are ready."""
    if not background.status(out, as_json=as_json):
        sys.exit(1)


@app.command()
def kill(name: Annotated[str, typer.Argument(help="A component of the stack that runs.")]) -> None:
    """SIGKILL one component; the others go on without it."""
    _on_purpose("kill", name)


@app.command()
def stop(name: Annotated[str, typer.Argument(help="A component of the stack that runs.")]) -> None:
    """Stop one component, with grace; the others go on without it."""
    _on_purpose("stop", name)


@app.command()
def start(
    name: Annotated[str, typer.Argument(help="A component that was killed or stopped.")],
) -> None:
    """Start what was killed or stopped, and wait until it is ready."""
    _on_purpose("start", name)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A component, or build-COMPONENT.")],
    lines: Annotated[int, typer.Option(min=1, help="How many lines from the end.")] = 50,
) -> None:
    """Print the end of a component's log."""
    try:
        background.logs(name, lines)
    except LaunchError as error:
        _fail("logs", error)


@app.command()
def checkout(
    card: Annotated[
        str, typer.Option(help="declined, gateway-timeout, slow, crash, or any other name.")
    ] = "ordinary",
) -> None:
    """Buy once; prints the outcome, the trace id and the next command."""
    sys.exit(asyncio.run(buy.checkout(card)))


@app.command()
def follow(
    trace_id: Annotated[
        str | None, typer.Argument(help="32 hex digits, or a traceresponse header.")
    ] = None,
    *,
    last_error: Annotated[
        bool, typer.Option("--last-error", help="The newest failed purchase of the last hour.")
    ] = False,
) -> None:
    """Print one trace as a tree, with the log lines of both services at their place in it."""
    sys.exit(asyncio.run(following.follow(trace_id, last_error=last_error)))


@app.command()
def traffic(
    rate: Annotated[
        float, typer.Option(help="Customers a second; they come whatever the answers take.")
    ] = 5,
    duration: Annotated[str, typer.Option("--for", help="Like 500ms, 60s, 2m, 1h.")] = "60s",
    card_mix: Annotated[
        str, typer.Option(help="`default`, or like ordinary=9,slow=1.")
    ] = "default",
    seed: Annotated[int, typer.Option(help="The same seed is the same customers again.")] = 0,
) -> None:
    """Play customers at a steady arrival rate."""
    sys.exit(asyncio.run(playing.traffic(rate, duration, card_mix, seed)))


@app.command()
def verify(
    checkouts: Annotated[int, typer.Option(min=1, max=5000, help="How many purchases.")] = 60,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Purchases a second.")] = 10,
    max_freshness: Annotated[
        float | None, typer.Option(min=0, help="Fail when a p95 is over this, in seconds.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Prove end to end that every purchase is whole in traces, logs and metrics."""
    try:
        verdicts = asyncio.run(
            verifying.verify(
                checkouts, rate, max_freshness, lambda step: err.print(step, style="dim")
            )
        )
    except (BackendError, ShopError) as error:
        _fail("verify", error)
    verifying.report(verdicts, out, as_json=as_json)
    if not verifying.passed(verdicts):
        sys.exit(1)


@app.command()
def rehearse(
    name: Annotated[str | None, typer.Argument(help="Which one; none lists them.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="One after the other.")] = False,
    long: Annotated[
        bool, typer.Option("--long", help="The long form: minutes, and more stops.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Break something under a steady load, restore it, and prove that nothing is lost."""
    if name is None and not everything:
        report.known(plan.REHEARSALS, out)
        return
    try:
        played = rehearsing.rehearse(name, err, long=long)
    except (LaunchError, state.RunningError) as error:
        _fail("rehearse", error)
    except KeyboardInterrupt:
        err.print("demo rehearse: interrupted; what was broken is restored", style="yellow")
        sys.exit(130)
    report.report(played, out, as_json=as_json)
    if not report.passed(played):
        sys.exit(1)


def _on_purpose(verb: str, name: str) -> None:
    try:
        seconds = control.act(verb, name)
    except LaunchError as error:
        _fail(verb, error)
    done = "ready" if verb == "start" else f"{control.ENDED[verb]} on purpose"
    out.print(f"{printable(name)} {done} after {seconds:.1f} s")


def _fail(command: str, error: Exception) -> NoReturn:
    # A backend's own words may be in it: shown, never interpreted.
    said = "\n".join(printable(line, 600) for line in str(error).splitlines())
    err.print(Text.assemble((f"demo {command}: ", "red"), said))
    sys.exit(1)


if __name__ == "__main__":
    app()
