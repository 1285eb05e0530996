"""The command ``demo capacity``: what a rate of checkouts needs, as a table."""

from rich.console import Console
from rich.table import Table

from three_pillar_demo.capacity.model import UTILISATION, Plan
from three_pillar_demo.capacity.rows import ROWS, number

PAGE = "docs/explanation/scale.md"


def print_plan(plan: Plan, out: Console) -> None:
    """Print what each part needs, and what the figures assume."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("part")
    table.add_column("quantity")
    table.add_column(f"{number(plan.rate)} checkouts/s", justify="right")
    for row in ROWS:
        table.add_row(row.part, row.quantity, row.text(plan))
    out.print(table)
    out.print(
        f"\nTail sampling keeps {plan.kept:.0%} of the traces; everything is stored for"
        f" {plan.days} days; a core is planned to be busy for {UTILISATION:.0%}. This is"
        f" arithmetic, not a measurement: {PAGE} names the source of each figure.",
        style="dim",
    )
