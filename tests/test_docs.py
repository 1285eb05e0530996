"""The documentation agrees with the code: what it names exists, and what exists is documented."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from docs import generate
from docs.generators import cli, messages, settings
from tests.conftest import ShopFactory
from tests.in_memory_shop import InMemoryShop, attributes_of
from tests.test_layout import MAY_IMPORT
from three_pillar_demo.local_store import (
    compression,
    receiver,
    retention,
    series_table,
    values,
    writer,
)
from three_pillar_demo.local_store.otlp import batch, checks
from three_pillar_demo.local_store.otlp.exponential import MAX_BUCKETS
from three_pillar_demo.local_store.process import Settings as StoreSettings
from three_pillar_demo.verify.outcomes import EXPECTED

TELEMETRY = Path("docs/reference/telemetry.md").read_text()
README = Path("README.md").read_text()
CONTRIBUTING = Path("CONTRIBUTING.md").read_text()
DOCUMENTS = [Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").rglob("*.md"))]
CARDS = ("ordinary", "declined", "gateway-timeout", "slow", "crash")
MAX_README_LINES = 120
MAX_README_CHARACTERS = 8_000
MIB = 1024**2


def table(heading: str) -> Iterator[list[str]]:
    """Yield the cells of table rows under ``heading`` of docs/reference/telemetry.md.

    Only rows whose first cell begins with inline code are included.
    """
    section = TELEMETRY.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield cells


def quoted(cell: str) -> list[str]:
    """Return the texts in backticks in a table cell."""
    return re.findall(r"`([^`]+)`", cell)


def metrics(makers: set[str]) -> dict[str, set[str]]:
    """Return the labels of each documented metric that one of ``makers`` records, by metric name.

    A maker is a file or an instrumentation in the fourth column of the table.
    """
    rows = (cells for cells in table("Metrics") if cells[3].strip("`") in makers)
    return {quoted(cells[0])[0]: set(quoted(cells[2])) for cells in rows}


def headings(document: Path) -> set[str]:
    """Return the anchors of a document's headings, in the form that GitHub gives them."""
    lines = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def commands_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield each ``demo`` command in ``text``: its name, and the rest of the line.

    Commands are looked for in inline code and after a shell prompt (``$``).
    """
    prose = " ".join(re.sub(r"```.*?```", "", text, flags=re.DOTALL).split())
    shell = re.findall(r"^\s*\$ (.*)$", text, re.MULTILINE)
    for code in [*re.findall(r"`([^`]+)`", prose), *shell]:
        # A component of compose is called demo too.
        if "compose" not in code:
            yield from re.findall(
                r"(?<![\w/.-])(?:\.venv/bin/)?demo ((?:drill )?[a-z][a-z-]*)(.*)", code
            )


@pytest.fixture
def used_shop(build_shop: ShopFactory) -> InMemoryShop:
    """A shop in memory after one request for each outcome that needs no outage."""
    shop = build_shop(payment_timeout=0.1)
    for card in CARDS:
        shop.request(json={"card": card})
    shop.request(json=[])
    shop.request(json={"items": 1})
    return shop


def test_the_outcomes_are_those_that_verify_expects() -> None:
    """The documented outcomes, statuses and severities are those that ``demo verify`` expects."""
    rows = {quoted(cells[0])[0]: cells for cells in table("Outcomes")}
    assert rows.keys() == EXPECTED.keys()
    for name, (_, _, payment, checkout, severities, errors) in rows.items():
        expected = EXPECTED[name]
        assert checkout.startswith(str(expected.status))
        named_severities = [level for level in severities.split(" / ") if level != "-"]
        expected_severities = [expected.severity, expected.payment_severity]
        assert named_severities == [level for level in expected_severities if level]
        assert re.findall(r"\d+ `(\w+)`", payment) == (
            [expected.payment_outcome] if expected.payment_outcome else []
        )
        named_errors = {
            role
            for role in ("payment SERVER", "checkout CLIENT", "checkout SERVER")
            if role in errors
        }
        assert named_errors == {role for role in expected.errors if role != "order"}


def test_the_spans_are_those_of_a_purchase(used_shop: InMemoryShop) -> None:
    """The documentation lists exactly the spans of a purchase and the attributes of its order."""
    named = {
        (*quoted(cells[0]), cells[1])
        for cells in table("Spans")
        if cells[1] in {"SERVER", "INTERNAL", "CLIENT"}
    }
    assert {(span.name, span.kind.name) for span in used_shop.spans} == named
    attributes = {
        name
        for span in used_shop.spans
        if span.name == "place order"
        for name in attributes_of(span)
    }
    assert attributes == {quoted(cells[0])[0] for cells in table("Spans") if len(cells) == 2}


def test_the_metrics_are_those_of_the_endpoint(used_shop: InMemoryShop) -> None:
    """The reference lists exactly the metrics and labels of ``/metrics``, plus those of HTTPX."""
    exposed = {}
    for family in text_string_to_metric_families(used_shop.request("GET", "/metrics").text):
        name = family.name + ("_total" if family.type == "counter" else "")
        exposed[name] = {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
    exposed.pop("target_info")
    assert exposed == metrics(
        {"telemetry/three_pillars/request_metrics.py", "the FastAPI instrumentation"}
    )


def test_the_log_fields_are_those_of_the_services(used_shop: InMemoryShop) -> None:
    """The reference lists exactly the log fields, and all events but the canonical one."""
    rows = list(table("Log records"))
    fields = {name for cells in rows for name in quoted(cells[0]) if len(cells) == 3}
    records = [record for record in used_shop.lines() if "logger" not in record]
    assert {field for record in records for field in record} == fields - {"logger"}
    events = {re.sub(": <reason>", "", quoted(cells[0])[0]) for cells in rows if len(cells) == 4}
    logged = {record["event"] for record in records if "http.response.status_code" not in record}
    matched = {next((event for event in events if text.startswith(event)), text) for text in logged}
    assert matched == events


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    """Each generated page equals the current output of its generator (``make docs``)."""
    assert (generate.DOCS / name).read_text() == generate.PAGES[name]()


def test_every_message_has_an_entry_and_every_entry_a_message() -> None:
    """The file messages.toml says what to do about exactly the messages that the code contains."""
    entries = messages.load_actions()
    assert messages.all_messages() == entries.keys()
    assert [text for text, action in entries.items() if len(action.split()) < 2] == []


def test_every_setting_is_in_the_reference() -> None:
    """The reference lists exactly the settings that the services, the store and the web UI read."""
    page = (generate.DOCS / "reference/settings.md").read_text()
    named = set(
        re.findall(
            r"^\| `((?:CHECKOUT|PAYMENT|STORE|WEB|TAIL_SAMPLING)_[A-Z_]+|[A-Z_]+_PORT)`",
            page,
            re.MULTILINE,
        )
    )
    assert named == settings.variables()


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    """A document names only settings that exist, by their current names."""
    if document.name == "settings.md":
        pytest.skip("it also lists former names")
    named = re.findall(
        r"\b((?:CHECKOUT|PAYMENT|STORE|WEB|EMBEDDED|CONSOLE)_[A-Z_]+)\b", document.read_text()
    )
    component_hosts = {"CHECKOUT_HOST", "PAYMENT_HOST"}
    assert set(named) - component_hosts <= settings.variables()


def test_every_command_is_in_the_reference() -> None:
    """The reference has a section for every ``demo`` command, and for no other command."""
    page = (generate.DOCS / "reference/cli.md").read_text()
    assert set(re.findall(r"^## `(.+)`$", page, re.MULTILINE)) == {
        name for name, _ in cli.commands()
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_command_that_is_named_exists(document: Path) -> None:
    """Every ``demo`` command, option and make verb that a document names exists."""
    text = document.read_text()
    options_of = {
        name.removeprefix("demo "): {option for item in command.params for option in item.opts}
        for name, command in cli.commands()
    }
    for name, rest in commands_in(text):
        if name == "drill":
            continue
        assert name in options_of, f"demo {name}"
        named = set(re.findall(r"(?<!\S)--[a-z-]+", rest.split("|")[0].split(";")[0]))
        assert named <= options_of[name] | {"--help"}, f"demo {name} {rest}"
    verbs = set(re.findall(r"^([a-z-]+):.*##", Path("Makefile").read_text(), re.MULTILINE))
    in_code = [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^\s*\$ (.*)$", text, re.MULTILINE)]
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join(in_code))) <= verbs


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_file_that_is_named_exists(document: Path) -> None:
    """Every path and every link in a document leads to an existing file and heading."""
    text = document.read_text()
    folders = "services|telemetry|demo|bench|config|examples|grafana|docs|native|tests"
    named = re.findall(rf"`((?:{folders})/[\w./-]*\w/?)`", text)
    named += re.findall(r"`([\w-]+\.(?:yaml|yml))`", text)
    missing = [path for path in named if not Path(path).exists()]
    for link, anchor in re.findall(r"\]\((?!http)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        target = document.parent / link if link else document
        if not target.exists():
            missing.append(link)
        elif anchor and anchor not in headings(target):
            missing.append(f"{link}#{anchor}")
    assert missing == []


def test_the_index_lists_every_page() -> None:
    """Every page of the documentation is linked from its index or from the list of decisions."""
    index = Path("docs/README.md")
    linked = {
        (page.parent / link).resolve()
        for page in (index, Path("docs/decisions/README.md"))
        for link in re.findall(r"\]\((?!http)([^)#\s]+)", page.read_text())
    }
    pages = {path.resolve() for path in Path("docs").rglob("*.md")} - {index.resolve()}
    assert pages <= linked


def test_the_limits_of_the_local_store_are_those_of_the_code() -> None:
    """Every limit in docs/reference/local-store.md is the one that the code enforces."""
    page = " ".join(Path("docs/reference/local-store.md").read_text().split())
    size_mib = StoreSettings.model_fields["size_mib"].default
    for text in (
        (
            f"over {receiver.MAX_BODY_BYTES // MIB} MiB, or over "
            f"{compression.MAX_DECOMPRESSED_BYTES // MIB} MiB decompressed"
        ),
        f"{writer.MAX_QUEUED_BYTES // MIB} MiB are already waiting for the disk",
        f"at most {values.MAX_ATTRIBUTES} attributes, texts cut at {values.MAX_TEXT} characters",
        f"a time over a day in the future{'' if checks.MAX_HOURS_AHEAD == 24 else '?'}",
        f"more than {batch.MAX_RECORDS:,} records in a request, more than {MAX_BUCKETS} buckets",
        f"beyond the {series_table.MAX_SERIES:,}th",
        (
            f"Traces and log records {retention.RETENTION_HOURS} hours, "
            f"points and exemplars {retention.POINT_RETENTION_HOURS} hours"
        ),
        f"in steps of {retention.ROWS_PER_STEP} rows",
        f"`STORE_SIZE_MIB` ({size_mib})",
    ):
        assert text in page, text
    assert retention.DIGEST_RETENTION_S == 3600  # "within an hour"


def test_the_views_of_the_local_store_are_those_of_the_schema() -> None:
    """The documentation lists exactly the SQL views of the local store, with all their columns."""
    page = Path("docs/reference/local-store.md").read_text()
    section = page.split("\n## Schema\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|.*?\| (.*) \|$", section, re.MULTILINE)
    printed = {quoted(view)[0]: quoted(columns) for view, columns in rows}
    database = sqlite3.connect(":memory:")
    database.executescript(Path("demo/three_pillar_demo/local_store/schema.sql").read_text())
    views = [
        name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'view'")
    ]
    columns = {
        view: [row[1] for row in database.execute(f"PRAGMA table_info({view})")] for view in views
    }
    database.close()
    assert printed == columns


def test_the_import_table_is_that_of_the_layout_tests() -> None:
    """CONTRIBUTING.md prints the table of permitted imports that tests/test_layout.py enforces."""
    section = CONTRIBUTING.split("\n### Which part may import which\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    printed = {quoted(part)[0]: set(quoted(allowed)) for part, allowed in rows}
    assert printed == MAY_IMPORT


def test_the_readme_stays_short() -> None:
    """The README has at most 120 lines and 8,000 characters."""
    assert len(README.splitlines()) <= MAX_README_LINES
    assert len(README) <= MAX_README_CHARACTERS
