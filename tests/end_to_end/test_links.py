"""The six links between traces, logs and metrics, followed on live data and broken on purpose."""

import asyncio
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Stack
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.http_clients import HttpClients
from three_pillar_demo.verify import check as check_module
from three_pillar_demo.verify import ledger, link_check
from three_pillar_demo.verify.check import Check
from three_pillar_demo.verify.grafana_config import DATA_SOURCES, DataSources
from three_pillar_demo.verify.ledger import Ledger
from three_pillar_demo.verify.link_check import check_links

pytestmark = pytest.mark.full
LINKS = (
    "link exemplar -> trace",
    "link exemplar -> logs",
    "link trace -> logs",
    "link trace -> metrics",
    "link log -> trace",
    "link log -> metrics",
)
MISTAKES = [
    (
        "exemplar -> trace",
        "datasourceUid: tempo\n          urlDisplayLabel",
        "datasourceUid: loki\n          urlDisplayLabel",
    ),
    (
        "exemplar -> trace",
        "name: trace_id\n          datasourceUid",
        "name: request_id\n          datasourceUid",
    ),
    ("exemplar -> logs", "trace_id%3D", "request_id%3D"),
    ("exemplar -> logs", "$${__value.raw}%5C", "$${__value.id}%5C"),
    ("exemplar -> logs", "%22datasource%22%3A%22loki%22", "%22datasource%22%3A%22tempo%22"),
    ("exemplar -> logs", "service_namespace%3D%5C%22shop", "service_name%3D%5C%22checkout"),
    ("trace -> logs", "$${__trace.traceId}", "$${__trace.id}"),
    ("trace -> logs", 'query: \'{service_namespace="shop"}', 'query: \'{service_name="checkout"}'),
    ("trace -> logs", ' | trace_id="$${__trace.traceId}"', ""),
    ("trace -> logs", "spanEndTimeShift: 1m", "spanEndTimeShift: -1m"),
    ("trace -> metrics", "value: http_route", "value: route"),
    ("trace -> metrics", "key: service.name", "key: service"),
    ("trace -> metrics", "_seconds_bucket{$$__tags}", "_milliseconds_bucket{$$__tags}"),
    ("trace -> metrics", 'code=~"5.."}[$$__rate_interval]', 'code=~"5.."}[$$__rate]'),
    ("log -> trace", "^trace_id$", "^request_id$"),
    ("log -> trace", "matcherRegex: ^trace_id$", "matcherRegex: ^span_id$"),
    (
        "log -> trace",
        "matcherType: label\n          matcherRegex: ^trace_id",
        "matcherType: regex\n          matcherRegex: ^trace_id",
    ),
    ("log -> metrics", "^service_name$", "^service$"),
    ("log -> metrics", "__data.fields.Time.numeric", "__data.fields.When.numeric"),
    ("log -> metrics", "&time.window=600000", ""),
    ("log -> metrics", "/d/checkout?", "/d/shop?"),
    ("log -> metrics", "var-service=", "var-job="),
]
"""Mistakes in Grafana's data source file: the link, a part of the file, and what replaces it."""


async def _ignore(_purchase: Purchase) -> None:
    pass


def follow(bought: Ledger, sources: DataSources | None = None) -> list[Check]:
    """Return the result of the check of each of the six links, from the purchases in ``bought``."""

    async def follow_all() -> list[Check]:
        async with HttpClients() as backends:
            return await check_links(backends, bought, sources)

    return asyncio.run(follow_all())


@pytest.fixture(scope="module")
def bought(stack: Stack) -> Ledger:
    """A ledger with purchases of every outcome, whose links all work."""
    assert stack
    purchases = asyncio.run(ledger.fill(20, 5, _ignore))
    assert [check.name for check in follow(purchases) if check.passed] == list(LINKS)
    return purchases


@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_to_the_same_request(bought: Ledger, link: str) -> None:
    """From a purchase of each outcome, a link leads to the same request in every service."""
    verdict = next(check for check in follow(bought) if check.name == link)
    assert verdict.passed, verdict.problems
    assert not verdict.problems
    assert int(verdict.figures.split()[0]) >= len(bought.outcomes)


@pytest.mark.parametrize(
    "mistake", MISTAKES, ids=[f"{link}: {replacement[:40]}" for link, _, replacement in MISTAKES]
)
def test_a_broken_link_fails(
    bought: Ledger, mistake: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in the label, query, time or target of a link fails this link and no other."""
    monkeypatch.setattr(check_module, "TIMEOUT_S", 0.0)
    link, original, replacement = mistake
    text = DATA_SOURCES.read_text()
    assert text.count(original) == 1
    copy = tmp_path / "datasources.yaml"
    copy.write_text(text.replace(original, replacement))
    verdicts = {check.name: check for check in follow(bought, DataSources.from_file(copy))}
    assert [name for name, check in verdicts.items() if not check.passed] == [f"link {link}"]
    assert verdicts[f"link {link}"].problems


def test_a_missing_link_fails(bought: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its settings, each link fails with a message that says it is not configured."""
    monkeypatch.setattr(check_module, "TIMEOUT_S", 0.0)
    empty = {
        uid: {**source, "jsonData": {}} for uid, source in DataSources.from_file().by_uid.items()
    }
    verdicts = follow(bought, DataSources(empty))
    assert not any(check.passed for check in verdicts)
    assert all("not configured" in check.problems[0] for check in verdicts)


def test_without_provisioning_the_links_are_not_judged(
    bought: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If there are no provisioning files, as in a container, the links are not judged."""
    monkeypatch.setattr(link_check, "ROOT", tmp_path)
    monkeypatch.setattr(link_check, "DATA_SOURCES", tmp_path / "datasources.yaml")
    (verdict,) = follow(bought)
    assert verdict.passed is None
    assert "datasources.yaml" in verdict.figures
