"""The six links between the pillars, followed on live data from Grafana's own provisioning; and each noticed when broken."""

import asyncio
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Stack
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.http_clients import HttpClients
from three_pillar_demo.verify import check, ledger, links
from three_pillar_demo.verify.check import Check
from three_pillar_demo.verify.ledger import Ledger
from three_pillar_demo.verify.link_check import check_links

pytestmark = pytest.mark.full
SIX = (
    "link exemplar -> trace",
    "link exemplar -> logs",
    "link trace -> logs",
    "link trace -> metrics",
    "link log -> trace",
    "link log -> metrics",
)
BREAKS = [
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
"""A link, what is configured, and a mistake somebody could make there."""


async def _bought(_purchase: Purchase) -> None:
    pass


def follow(bought: Ledger, sources: links.Sources | None = None) -> list[Check]:
    """Follow all six."""

    async def ask() -> list[Check]:
        async with HttpClients() as backends:
            return await check_links(backends, bought, sources)

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def bought(stack: Stack) -> Ledger:
    """Purchases of every outcome, which the links are known to find."""
    assert stack
    found = asyncio.run(ledger.fill(20, 5, _bought))
    assert [check.name for check in follow(found) if check.passed] == list(SIX)
    return found


@pytest.mark.parametrize("link", SIX)
def test_it_leads_to_the_same_request(bought: Ledger, link: str) -> None:
    """From one purchase of every outcome the link finds that request, in every service that took part."""
    verdict = next(check for check in follow(bought) if check.name == link)
    assert verdict.passed, verdict.missing
    assert not verdict.missing
    assert int(verdict.figures.split()[0]) >= len(bought.outcomes)


@pytest.mark.parametrize(
    "mistake", BREAKS, ids=[f"{link}: {wrong[:40]}" for link, _, wrong in BREAKS]
)
def test_a_broken_link_is_noticed(
    bought: Ledger, mistake: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong label, query, time or target turns that link red, and no other."""
    monkeypatch.setattr(check, "TIMEOUT_S", 0.0)
    link, right, wrong = mistake
    text = links.CONFIG.read_text()
    assert text.count(right) == 1
    copy = tmp_path / "datasources.yaml"
    copy.write_text(text.replace(right, wrong))
    verdicts = {check.name: check for check in follow(bought, links.configured(copy))}
    assert [name for name, check in verdicts.items() if not check.passed] == [f"link {link}"]
    assert verdicts[f"link {link}"].missing


def test_a_link_that_is_gone_is_noticed(bought: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its settings every link is red, and says what is not configured."""
    monkeypatch.setattr(check, "TIMEOUT_S", 0.0)
    bare: links.Sources = {
        uid: {**source, "jsonData": {}} for uid, source in links.configured().items()
    }
    verdicts = follow(bought, bare)
    assert not any(check.passed for check in verdicts)
    assert all("not configured" in check.missing[0] for check in verdicts)


def test_without_grafanas_files_the_links_are_not_judged(
    bought: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the provisioning is not at hand, as in a container, that is said, and nothing fails."""
    monkeypatch.setattr(links, "ROOT", tmp_path)
    monkeypatch.setattr(links, "CONFIG", tmp_path / "datasources.yaml")
    (verdict,) = follow(bought)
    assert verdict.passed is None
    assert "datasources.yaml" in verdict.figures
