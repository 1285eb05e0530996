"""Prints the launcher's progress: a live table in a terminal, else a line for each step."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from three_pillar_demo.paths import STATE
from three_pillar_demo.stack import ports, state
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.components import WEB

SHOP_STEPS = """In another terminal:

  [bold]make checkout[/]        buy once; prints the trace id
  [bold]make follow[/]          show the newest failed purchase: trace and logs
  [bold]make verify[/]          check that all three pillars have every purchase
"""
VIEW_STEPS = """In another terminal:

  [bold]demo run -- COMMAND[/]         run a program so that it sends its telemetry here
  [bold]demo follow --last-error[/]    show the newest failed request: trace and logs

Or send OTLP to {http} (HTTP) or {grpc} (gRPC).
"""
NEXT_STEPS = {
    state.LOCAL_MODE: SHOP_STEPS,
    state.FULL_MODE: SHOP_STEPS,
    state.VIEW_MODE: VIEW_STEPS,
    state.CLUSTER_MODE: SHOP_STEPS,
    state.CLUSTER_LOCAL_STORE_MODE: SHOP_STEPS,
}
"""What the user can do once everything is ready, by the name of the mode."""


def ignore_lost_output() -> suppress:
    """Return a context in which it is no error that nobody reads the output any more.

    The terminal, or the reader of a pipe, may be gone, and a file may be on a full disk. The
    components have to be watched and stopped all the same. Rich raises SystemExit for a pipe.
    """
    return suppress(OSError, SystemExit)


class ProgressDisplay:
    """Shows the current step of each component (such as starting) and its duration so far."""

    def __init__(self, components: Sequence[Component], console: Console, next_steps: str) -> None:
        """Set the step of every component to waiting; nothing is drawn yet.

        ``next_steps`` is one of ``NEXT_STEPS``.
        """
        self.console = console
        self.next_steps = next_steps
        self.components = components
        now = time.monotonic()
        self.steps = {component.name: ("waiting", now) for component in components}
        """By component name: the current step, and the monotonic time at which that step began."""
        self.ready_after_s: dict[str, float] = {}
        self.live = Live(
            get_renderable=self._table, console=console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Self:
        """Start to draw the table, if the output is a terminal."""
        if self.console.is_terminal:
            with ignore_lost_output():
                self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing, and remove the table from the terminal."""
        with ignore_lost_output():
            self.live.stop()

    def step(self, name: str, step: str, *, done: bool = False) -> None:
        """Set the current step of component ``name``.

        ``done`` is True if the component is ready.
        """
        now = time.monotonic()
        _, began = self.steps[name]
        duration = ""
        if done:
            self.ready_after_s[name] = now - began
            duration = f" after {now - began:.1f} s"
        else:
            self.ready_after_s.pop(name, None)
        self.steps[name] = (step, now)
        if self.live.is_started:
            return
        with ignore_lost_output():
            self.console.print(f"{name:15} {step}{duration}", soft_wrap=True, highlight=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for component in self.components:
            step, began = self.steps[component.name]
            ready_after_s = self.ready_after_s.get(component.name)
            if ready_after_s is None:
                elapsed = f"{time.monotonic() - began:.0f} s"
                mark = "[yellow]…[/]"
            else:
                elapsed = f"{ready_after_s:.1f} s"
                mark = "[green]✓[/]"
            table.add_row(mark, component.name, step, elapsed)
        return table

    def summary(self, seconds: float) -> None:
        """Print addresses, logs and next commands; ``seconds`` is the duration of the start."""
        with ignore_lost_output():
            self._print_summary(seconds)

    def _print_summary(self, seconds: float) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("component", "address", "log"):
            table.add_column(heading, no_wrap=True)
        for component in self.components:
            table.add_row(component.name, component.address, _shown_log_path(component))
        self.console.print(table)
        next_steps = self.next_steps.format(http=ports.STORE.url, grpc=ports.STORE_GRPC.url)
        self.console.print(
            f"\nEverything is ready after {seconds:.1f} s. {next_steps}\nCtrl-C stops everything.",
            highlight=False,
            soft_wrap=True,
        )
        if WEB in self.components:
            self.console.print(f"\nWeb UI: [bold]{WEB.address}[/]", highlight=False)


def _shown_log_path(component: Component) -> str:
    if component.log.is_relative_to(STATE.parent):
        return str(component.log.relative_to(STATE.parent))
    return str(component.log)
