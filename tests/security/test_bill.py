"""The bill of materials: all that is pinned is in it, with hashes and licences, and nothing of it is under AGPL."""

import json
import re
from pathlib import Path

from bench.bill import bill

ROOT = Path(__file__).parents[2]


def test_the_bill_lists_what_is_pinned() -> None:
    """Every package of the image, with hashes and a licence, and every Go module that is built from is on the bill, once."""
    parts = {each["purl"]: each for each in bill()["components"]}
    pinned = re.findall(
        r"^([\w.-]+)==(\S+)", (ROOT / "requirements/runtime.lock").read_text(), re.MULTILINE
    )
    for name, version in pinned:
        part = parts[f"pkg:pypi/{name}@{version}"]
        assert part["hashes"], name
        assert part["scope"] == "required", name
    named = [each for each in parts.values() if each["scope"] == "required" and "licenses" in each]
    assert len(named) > len(pinned) - 5  # what only other platforms install says nothing here
    for module in re.findall(
        r"gomod: (\S+) (\S+)", (ROOT / "native/collector/builder.yaml").read_text()
    ):
        assert "pkg:golang/{}@{}".format(*module) in parts
    assert {
        "pkg:golang/github.com/prometheus/alertmanager@v0.31.1",
        "pkg:docker/prom/alertmanager@v0.31.1",
    } <= parts.keys()
    assert bill() == json.loads(json.dumps(bill()))
    assert len(parts) == len(bill()["components"])


def test_no_licence_asks_for_the_source() -> None:
    """No package that the image installs is under the GPL or one of its relatives."""
    licences = {
        each["name"]: each["licenses"][0]["license"]["name"]
        for each in bill()["components"]
        if "licenses" in each
    }
    assert {
        name: said for name, said in licences.items() if re.search(r"GPL|General Public", said)
    } == {}
