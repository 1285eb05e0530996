"""The documents are true: what they name exists, and what exists is named."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from prometheus_client.parser import text_string_to_metric_families

from services.checkout.service import Settings as CheckoutSettings
from services.payment.service import Settings as PaymentSettings
from tests.conftest import ShopFactory
from tests.in_memory_shop import InMemoryShop, attributes_of
from three_pillar_demo.__main__ import app
from three_pillar_demo.local_store import (
    export_request,
    receiver,
    retention,
    store,
    values,
    writer,
)
from three_pillar_demo.local_store.__main__ import Settings as EmbeddedSettings
from three_pillar_demo.local_store.otlp import batch, checks, metrics
from three_pillar_demo.verify.outcomes import EXPECTED
from three_pillar_demo.web.__main__ import Settings as ConsoleSettings

VOCABULARY = Path("docs/reference/telemetry.md").read_text()
README = Path("README.md").read_text()
CARDS = ("ordinary", "declined", "gateway-timeout", "slow", "crash")


def table(heading: str) -> Iterator[list[str]]:
    """The cells of the rows under ``heading``, without the head."""
    section = VOCABULARY.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield cells


def quoted(cell: str) -> list[str]:
    """What a cell has in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def metrics(makers: set[str]) -> dict[str, set[str]]:
    """The labels of each metric on the page that is made by one of ``makers``."""
    rows = (cells for cells in table("Metrics") if cells[3].strip("`") in makers)
    return {quoted(cells[0])[0]: set(quoted(cells[2])) for cells in rows}


@pytest.fixture
def busy(build_shop: ShopFactory) -> InMemoryShop:
    """A shop where every outcome happened that needs no outage, and a bug did too."""
    shop = build_shop(payment_timeout=0.1)
    for card in CARDS:
        shop.request(json={"card": card})
    shop.request(json=[])
    shop.request(json={"items": 1})
    return shop


def test_the_outcome_table() -> None:
    """The page's outcomes, statuses and severities are those that ``demo verify`` expects."""
    rows = {quoted(cells[0])[0]: cells for cells in table("Outcomes")}
    assert rows.keys() == EXPECTED.keys()
    for name, (_, _, payment, checkout, severities, errors) in rows.items():
        expected = EXPECTED[name]
        assert checkout.startswith(str(expected.status))
        assert [each for each in severities.split(" / ") if each != "-"] == [
            each for each in (expected.severity, expected.payment_severity) if each
        ]
        assert re.findall(r"\d+ `(\w+)`", payment) == (
            [expected.payment_outcome] if expected.payment_outcome else []
        )
        named = {
            role
            for role in ("payment SERVER", "checkout CLIENT", "checkout SERVER")
            if role in errors
        }
        assert named == {role for role in expected.errors if role != "order"}


def test_the_spans(busy: InMemoryShop) -> None:
    """The page names exactly the spans of a purchase, and the order span's attributes."""
    named = {
        (*quoted(cells[0]), cells[1])
        for cells in table("Spans")
        if cells[1] in {"SERVER", "INTERNAL", "CLIENT"}
    }
    assert {(span.name, span.kind.name) for span in busy.spans} == named
    attributes = {
        name for span in busy.spans if span.name == "place order" for name in attributes_of(span)
    }
    assert attributes == {quoted(cells[0])[0] for cells in table("Spans") if len(cells) == 2}


def test_the_metrics(busy: InMemoryShop) -> None:
    """The page names exactly the metrics and labels that ``/metrics`` shows; the client's are seen on the real stack."""
    shown = {}
    for family in text_string_to_metric_families(busy.request("GET", "/metrics").text):
        name = family.name + ("_total" if family.type == "counter" else "")
        shown[name] = {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
    shown.pop("target_info")
    assert shown == metrics(
        {"telemetry/three_pillars/request_metrics.py", "the FastAPI instrumentation"}
    )


def test_the_log_fields(busy: InMemoryShop) -> None:
    """The page names exactly the fields that lines have, and every event that is not a canonical line."""
    rows = list(table("Log lines"))
    fields = {name for cells in rows for name in quoted(cells[0]) if len(cells) == 3}
    lines = [line for line in busy.lines() if "logger" not in line]
    assert {field for line in lines for field in line} == fields - {"logger"}
    events = {re.sub(": <reason>", "", quoted(cells[0])[0]) for cells in rows if len(cells) == 4}
    said = {line["event"] for line in lines if "http.response.status_code" not in line}
    assert {
        next((event for event in events if each.startswith(event)), each) for each in said
    } == events


def test_every_setting_is_in_the_readme() -> None:
    """The README names exactly the settings that the services, the embedded store and the page read."""
    named = set(re.findall(r"`((?:CHECKOUT|PAYMENT|EMBEDDED|CONSOLE)_[A-Z_]+)`", README))
    read = {
        f"{settings.model_config['env_prefix']}{field}".upper()
        for settings in (CheckoutSettings, PaymentSettings, EmbeddedSettings, ConsoleSettings)
        for field in settings.model_fields
    }
    assert named == read


def test_every_command_is_in_the_readme() -> None:
    """The README names every command of ``demo`` and only such, with options that exist; and verbs that make knows."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = re.findall(
        r"demo (up|down|[a-z]+)((?: \[?--[a-z-]+)*)",
        " ".join(re.findall(r"`(demo [^`]+)`", README)),
    )
    assert {name for name, _ in named} == set(commands)
    for name, options in named:
        have = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", options)) <= have
    verbs = set(re.findall(r"^([a-z-]+):.*##", Path("Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= verbs


@pytest.mark.parametrize(
    "document", [Path("README.md"), *sorted(Path("docs").rglob("*.md"))], ids=str
)
def test_every_file_that_is_named_exists(document: Path) -> None:
    """A path in a document leads somewhere."""
    text = document.read_text()
    named = re.findall(
        r"`((?:services|telemetry|demo|bench|config|examples|grafana|docs|native|tests)/[\w./-]*\w/?)`",
        text,
    )
    named += re.findall(r"`([\w-]+\.(?:yaml|yml|toml))`", text)
    linked = [str(document.parent / link) for link in re.findall(r"\]\((?!http)([^)#]+)\)", text)]
    assert [path for path in named + linked if not Path(path).exists()] == []


def test_the_limits_of_the_embedded_store_are_the_page_s() -> None:
    """Every limit that docs/reference/local-store.md states is the one that the code keeps."""
    page = " ".join(Path("docs/reference/local-store.md").read_text().split())
    mib = 1024**2
    for said in (
        f"over {receiver.MAX_BODY_BYTES // mib} MiB, or over {export_request.MAX_DECOMPRESSED_BYTES // mib} MiB unpacked",
        f"{writer.MAX_QUEUED_BYTES // mib} MiB wait for the disk already",
        f"at most {values.MAX_ATTRIBUTES} attributes, texts cut at {values.MAX_TEXT} characters",
        f"a time over a day in the future{'' if checks.MAX_HOURS_AHEAD == 24 else '?'}",
        f"more than {batch.MAX_RECORDS:,} records in a request, more than {metrics.MAX_BUCKETS} buckets",
        f"beyond the {store.MAX_SERIES:,}th",
        f"Traces and lines {retention.RETENTION_HOURS} hours, points and exemplars {retention.POINT_RETENTION_HOURS} hours",
        f"in steps of {retention.ROWS_PER_STEP} rows",
        f"`STORE_SIZE_MIB` ({EmbeddedSettings.model_fields['size_mib'].default})",
    ):
        assert said in page, said
    assert retention.DIGEST_RETENTION_S == 3600  # "within an hour"
