"""The launcher's voice: a line a component, redrawn in a terminal, a line a change when piped."""

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from three_pillar_demo.stack.components import STATE, WEB, Component


class Board:
    """Shows where each component is: its step, how long that took, its address."""

    def __init__(self, components: Sequence[Component], console: Console) -> None:
        """Begin with everything waiting."""
        self.console = console
        self.components = components
        self.steps = {component.name: ("waiting", time.monotonic()) for component in components}
        self.done: dict[str, float] = {}
        self.live = Live(
            get_renderable=self._table, console=console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing."""
        self.live.stop()

    def step(self, name: str, step: str, *, done: bool = False, counting: bool = False) -> None:
        """``name`` is at ``step`` now; ``counting`` steps change too often to be printed one by one."""
        before, since = self.steps[name]
        now = time.monotonic()
        if done:
            self.done[name] = now - since
        fresh = step.split(" (", maxsplit=1)[0] != before.split(" (")[0]
        self.steps[name] = (step, now if fresh and not done else since)
        if fresh and not self.console.is_terminal and not counting:
            took = f" after {self.done[name]:.1f} s" if done else ""
            self.console.print(f"{name:15} {step}{took}", soft_wrap=True, highlight=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for component in self.components:
            step, since = self.steps[component.name]
            done = self.done.get(component.name)
            elapsed = done if done is not None else time.monotonic() - since
            mark = "[green]✓[/]" if done is not None else "[yellow]…[/]"
            table.add_row(
                mark,
                component.name,
                step,
                f"{elapsed:.0f} s" if done is None else f"{elapsed:.1f} s",
            )
        return table

    def summary(self, seconds: float) -> None:
        """One table of what runs, and what to type next."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("component", "address", "log"):
            table.add_column(heading, no_wrap=True)
        for component in self.components:
            table.add_row(component.name, component.address, _short(component))
        self.console.print(table)
        self.console.print(
            f"\nEverything is ready after {seconds:.1f} s. In another terminal:\n\n"
            "  [bold]make checkout[/]        buy once; prints the trace id\n"
            "  [bold]make follow[/]          the newest failed purchase, through traces and logs\n"
            "  [bold]make verify[/]          prove that nothing is lost between the three pillars\n\n"
            "Ctrl-C stops everything.",
            highlight=False,
        )
        if WEB in self.components:
            self.console.print(
                f"\nBuy, watch and read why: [bold]{WEB.address}[/]", highlight=False
            )


def _short(component: Component) -> str:
    try:
        return str(component.log.relative_to(STATE.parent))
    except ValueError:
        return str(component.log)
