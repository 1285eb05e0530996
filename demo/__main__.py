"""The ``demo`` command."""

import asyncio
import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from demo import background, launcher, state
from demo import verify as verifying
from demo.backends import BackendError
from demo.binaries import BuildError
from demo.shop import ShopError

app = typer.Typer(
    help="One checkout, followed through traces, logs and metrics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def up(*, detach: Annotated[bool, typer.Option("--detach", help="Return when everything is ready.")] = False) -> None:
    """Start the whole stack; Ctrl-C stops it."""
    try:
        if detach:
            background.start(out)
        else:
            launcher.Launcher(out).up()
    except (launcher.LaunchError, state.RunningError, BuildError) as error:
        _fail("up", error)


@app.command()
def down() -> None:
    """Stop the stack, wherever it was started."""
    try:
        background.stop(out)
    except launcher.LaunchError as error:
        _fail("down", error)


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Show each component; exits non-zero unless all are ready."""
    if not background.status(out, as_json=as_json):
        sys.exit(1)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A component, or build-COMPONENT.")],
    lines: Annotated[int, typer.Option(min=1, help="How many lines from the end.")] = 50,
) -> None:
    """Print the end of a component's log."""
    try:
        background.logs(name, lines)
    except launcher.LaunchError as error:
        _fail("logs", error)


@app.command()
def verify(
    checkouts: Annotated[int, typer.Option(min=1, max=5000, help="How many purchases.")] = 60,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Purchases a second.")] = 10,
    max_freshness: Annotated[float | None, typer.Option(min=0, help="Fail when a p95 is over this, in seconds.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Prove end to end that every purchase is whole in traces, logs and metrics."""
    try:
        verdicts = asyncio.run(verifying.verify(checkouts, rate, max_freshness, lambda step: err.print(step, style="dim")))
    except (BackendError, ShopError) as error:
        _fail("verify", error)
    verifying.report(verdicts, out, as_json=as_json)
    if not verifying.passed(verdicts):
        sys.exit(1)


def _fail(command: str, error: Exception) -> NoReturn:
    err.print(f"[red]demo {command}:[/] {error!s}", markup=True)
    sys.exit(1)


if __name__ == "__main__":
    app()
