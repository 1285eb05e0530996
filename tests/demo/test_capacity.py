"""The capacity model: its inputs are the measured figures, and its arithmetic is right."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs.generators import capacity
from tests.test_budget import BUDGET
from three_pillar_demo.all_commands import app
from three_pillar_demo.capacity import figures
from three_pillar_demo.capacity.model import Plan
from three_pillar_demo.capacity.rows import ROWS, gigabytes, number

BENCHMARKS = Path("docs/benchmarks.md").read_text(encoding="utf-8")


def cells_of(line: str) -> list[str]:
    """Return the cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def benchmark(section: str, title: str, row: str, heading: str) -> float:
    """Return the number in the row and under the heading of a table of docs/benchmarks.md.

    The table is the first one after ``title`` in the part that a benchmark writes.
    """
    text = BENCHMARKS.split(f"<!-- {section} -->")[1].split(f"<!-- /{section} -->")[0]
    lines = text[text.index(title) :].splitlines()
    table = [cells_of(line) for line in lines if line.startswith("|")]
    column = table[0].index(heading)
    cells = next(cells for cells in table if cells[0] == row)
    return float(re.findall(r"[\d,.]+", cells[column])[0].replace(",", ""))


def test_the_inputs_are_those_of_the_budget() -> None:
    """Spans, log records and bytes of the model are those that ``tests/test_budget.py`` allows."""
    assert BUDGET["spans"] == figures.SPANS.value
    assert BUDGET["bytes of spans"] == figures.SPAN_BYTES.value
    assert BUDGET["bytes of metrics"] == figures.METRIC_EXPORT_BYTES.value
    record_bytes = BUDGET["bytes of log records"] / BUDGET["log records"]
    assert record_bytes == figures.LOG_RECORD_BYTES.value


@pytest.mark.parametrize(
    ("figure", "section", "title", "row", "heading"),
    [
        (figures.CHECKOUT_CPU_US, "kept", "checkout,", "ours", "CPU µs"),
        (figures.PAYMENT_CPU_US, "kept", "charges,", "ours", "CPU µs"),
        (figures.LOG_RECORDS, "footprint", "full: one checkout", "loki", "items"),
        (figures.TEMPO_BYTES, "footprint", "full: one checkout", "tempo", "bytes on disk"),
        (figures.LOKI_BYTES, "footprint", "full: one checkout", "loki", "bytes on disk"),
        (
            figures.SERIES,
            "footprint",
            "full: one checkout",
            "prometheus",
            "series, all (new ones)",
        ),
        (
            figures.SERVICE_MIB,
            "footprint",
            "full: resident memory",
            "checkout",
            "after 12,000 checkouts",
        ),
        (figures.AGENT_SPANS, "tiers", "", "4", "spans/s on a core of the agent"),
        (figures.GATEWAY_SPANS, "tiers", "", "4", "spans/s on a core of a gateway"),
    ],
)
def test_the_inputs_are_those_of_the_benchmarks(
    figure: figures.Figure, section: str, title: str, row: str, heading: str
) -> None:
    """A figure of the model is the one that the benchmark wrote into docs/benchmarks.md."""
    assert figure.value == benchmark(section, title, row, heading)


def test_the_arithmetic() -> None:
    """At 10,000 checkouts a second each quantity is the product of its figures."""
    plan = Plan(10_000, kept=0.5, days=2)
    assert plan.spans == 10_000 * figures.SPANS.value
    assert plan.kept_trace_mb == pytest.approx(plan.spans / 4 * 1379 / 1e6 / 2)
    assert plan.partitions == 2, "6.9 MB/s need two live-stores of 6 MB/s in each zone"
    assert plan.live_stores == 2 * plan.partitions
    busy_cores = 10_000 * figures.CHECKOUT_CPU_US.value / 1e6
    assert busy_cores / plan.checkout_processes == pytest.approx(0.6, rel=0.05)
    assert plan.agent_cores == pytest.approx(40_000 / figures.AGENT_SPANS.value / 0.6)
    assert plan.tempo_storage_gb == pytest.approx(
        10_000 * 86_400 * 2 * figures.TEMPO_BYTES.value / 2 / 1e9
    )
    assert plan.samples == plan.checkout_processes * figures.SERIES.value / 15


def test_tail_sampling_changes_only_traces() -> None:
    """With a tenth of the traces, only the rows of Tempo change."""
    part = ""
    changed = set()
    for row in ROWS:
        part = row.part or part
        if row.text(Plan(1_000_000)) != row.text(Plan(1_000_000, kept=0.1)):
            changed.add(part)
    assert changed == {"Tempo"}


@pytest.mark.parametrize(
    ("rate", "name", "cores"),
    [
        (100, "monolithic, three instances", None),
        (10_000, "microservices, first tier", 38),
        (200_000, "microservices, second tier", 431),
        (1_000_000, "3 times microservices, third tier", 3 * 1_221),
    ],
)
def test_loki_grows_in_tiers(rate: float, name: str, cores: int | None) -> None:
    """The size of Loki is the smallest documented one that is enough for the log records a day."""
    loki = Plan(rate).loki
    assert (loki.name, loki.cores) == (name, cores)


def test_no_part_has_a_single_process() -> None:
    """At the smallest rate there are two processes of each part that takes requests."""
    plan = Plan(0.1)
    parts = (plan.checkout_processes, plan.payment_processes, plan.gateways, plan.distributors)
    assert parts == (2, 2, 2, 2)


def test_the_command_prints_what_the_page_says() -> None:
    """``demo capacity`` prints, for each rate of the page, the figures of its column."""
    page = capacity.PAGE.read_text(encoding="utf-8")
    table = page.split("<!-- plan -->")[1].split("<!-- /plan -->")[0]
    rows = [cells_of(line) for line in table.strip().splitlines()[2:]]
    assert len(rows) == len(ROWS)
    for column, rate in enumerate(capacity.RATES, 2):
        result = CliRunner().invoke(app, ["capacity", f"--rate={rate}", "--kept=28"])
        assert result.exit_code == 0, result.output
        printed = [line.split() for line in result.stdout.splitlines()[1 : 1 + len(ROWS)]]
        for cells, words in zip(rows, printed, strict=True):
            expected = cells[column].split()
            assert words[-len(expected) :] == expected


@pytest.mark.parametrize(
    "options", [["--rate=0"], ["--rate=nan"], ["--kept=0"], ["--kept=101"], ["--days=0"]]
)
def test_an_impossible_plan_is_refused(options: list[str]) -> None:
    """A rate, a percentage or a number of days that cannot be is refused before anything else."""
    result = CliRunner().invoke(app, ["capacity", *options])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("value", "text"), [(0.0771, "0.077"), (2, "2"), (9.96, "10"), (10.4, "10"), (12_345, "12,345")]
)
def test_numbers_have_two_digits(value: float, text: str) -> None:
    """A number below ten has two significant digits, and a larger one is whole."""
    assert number(value) == text


def test_amounts_have_a_unit() -> None:
    """An amount of data is given in GB, TB or PB."""
    assert [gigabytes(value) for value in (0.5, 999, 1500, 2e6)] == [
        "0.5 GB",
        "999 GB",
        "1.5 TB",
        "2 PB",
    ]
