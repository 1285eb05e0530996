"""The generated part of docs/explanation/scale.md: the capacity table and its inputs."""

from collections.abc import Iterator
from pathlib import Path

from docs.generators.tables import table
from three_pillar_demo.capacity import figures
from three_pillar_demo.capacity.model import Plan
from three_pillar_demo.capacity.rows import ROWS, gigabytes, number

PAGE = Path(__file__).parent.parent / "explanation" / "scale.md"
RATES = (100, 10_000, 1_000_000)
"""The checkouts a second of the columns."""
KEPT = 0.28
"""The share of the traces that is kept: all that failed, a fifth of the demo's usual mix, and a
tenth of the rest."""
KEPT_SHARES = (1, KEPT, 0.1)
"""The shares of the traces that the table on tail sampling compares."""


def page() -> str:
    """Return the text of docs/explanation/scale.md with its generated parts up to date."""
    text = PAGE.read_text(encoding="utf-8")
    for name, part in (("plan", _plan()), ("sampling", _sampling()), ("inputs", _inputs())):
        text = _with_part(text, name, part)
    return text


def _with_part(text: str, name: str, part: str) -> str:
    """Return ``text`` with ``part`` between the marks ``name``."""
    start = f"<!-- {name} -->"
    end = f"<!-- /{name} -->"
    before, _, rest = text.partition(start)
    after = rest.partition(end)[2]
    return f"{before}{start}\n{part}\n{end}{after}"


def _plan() -> str:
    headings = ("part", "quantity", *(f"{number(rate)} checkouts/s" for rate in RATES))
    plans = [Plan(rate, KEPT) for rate in RATES]
    rows = ((row.part, row.quantity, *(row.text(plan) for plan in plans)) for row in ROWS)
    return table(headings, rows)


def _sampling() -> str:
    rate = RATES[-1]
    headings = ("traces kept", "MB/s", "live-stores in two zones", "stored in 14 days")
    plans = [Plan(rate, kept) for kept in KEPT_SHARES]
    rows = (
        (
            f"{plan.kept:.0%}",
            number(plan.kept_trace_mb),
            number(plan.live_stores),
            gigabytes(plan.tempo_storage_gb),
        )
        for plan in plans
    )
    return table(headings, rows)


def _inputs() -> str:
    return table(("figure", "value", "source"), _input_rows())


def _input_rows() -> Iterator[tuple[str, str, str]]:
    for figure in figures.ALL:
        yield figure.name, f"{figure.value:,.6g} {figure.unit}", figure.source
    for tier in (*figures.LOKI_TIERS, figures.LARGEST_LOKI_TIER):
        needs = "no figures published"
        if tier.cores is not None:
            needs = f"{tier.cores:,} cores, {tier.gib:,} GiB"
        limit = f"to {tier.gb_a_day:,.0f} GB a day"
        if tier is figures.LARGEST_LOKI_TIER:
            limit = f"for each {tier.gb_a_day:,.0f} GB a day"
        yield f"Loki: {tier.name}, {limit}", needs, tier.source
