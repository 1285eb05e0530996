"""Tests for the units in which a person reads the number of an attribute."""

import re

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from tests.traces import ROOT, TRACE, span
from three_pillar_demo.web.attribute_units import value_hint


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("http.request.body.size", "204800", "200 KiB"),
        ("http.response.size", "1536", "1.5 KiB"),
        ("http.response_content_length", "5000000", "4.77 MiB"),
        ("messaging.message.envelope.size", "1099511627776", "1 TiB"),
        ("rpc.message.compressed_size", "2048", "2 KiB"),
        ("upload_bytes", "3221225472", "3 GiB"),
        ("http.request.body.size", "1023", ""),
        ("db.operation.batch.size", "2048", ""),
        ("pool.size", "2048", ""),
        ("retry.delay_ms", "1500", "1.5 s"),
        ("elapsed_ms", "90000", "90 s"),
        ("elapsed_ms", "12", ""),
        ("gc.pause_us", "1500", "1.5 ms"),
        ("process.cpu.time_ns", "2500000000", "2.5 s"),
        ("timeout_s", "0.25", "250 ms"),
        ("timeout.seconds", "30", ""),
        ("timeout_s", "600", "10 min"),
        ("elapsed_ms", "0", ""),
        ("items", "12", ""),
        ("alarms", "1500", ""),
        ("elapsed_ms", "fast", ""),
        ("elapsed_ms", "", ""),
        ("elapsed_ms", "-1500", ""),
        ("elapsed_ms", "1e999", ""),
        ("elapsed_ns", "9" * 400, ""),
        ("elapsed_ms", "\u0661\u0662", ""),
    ],
)
def test_a_number_has_the_unit_of_its_name(name: str, value: str, expected: str) -> None:
    """Sizes and durations are given in a larger unit, and only where the unit is certain."""
    assert value_hint(name, value) == expected


def test_the_value_itself_stays(stored: StoredData, page: TestClient) -> None:
    """The value is shown and copied as it was sent, with the other unit beside it."""
    stored.spans = [span(ROOT, "", attributes={"http.request.body.size": 204800})]
    for path in (f"/trace/{TRACE}", f"/trace/{TRACE}/request.html"):
        text = page.get(path).text
        assert re.search(r'<dd>204800 <span class="muted">200 KiB</span>', text)
