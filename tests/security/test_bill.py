"""The bill of materials: it lists everything that is pinned, and nothing in it is copyleft."""

import json
import re
from pathlib import Path

from bench.bill import bill

ROOT = Path(__file__).parents[2]
PACKAGES_OF_OTHER_PLATFORMS = 5
"""Pinned packages, at most, that are not installed here and so do not name their licence."""
ALERTMANAGER = {
    "pkg:golang/github.com/prometheus/alertmanager@v0.31.1",
    "pkg:docker/prom/alertmanager@v0.31.1",
}


def test_bill_lists_everything_pinned() -> None:
    """Every package of the image, with hashes and licence, and every Go module is listed once."""
    components = {component["purl"]: component for component in bill()["components"]}
    lock = (ROOT / "requirements/runtime.lock").read_text()
    pinned = re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)
    for name, version in pinned:
        component = components[f"pkg:pypi/{name}@{version}"]
        assert component["hashes"], name
        assert component["scope"] == "required", name
    licensed = [
        component
        for component in components.values()
        if component["scope"] == "required" and "licenses" in component
    ]
    assert len(licensed) > len(pinned) - PACKAGES_OF_OTHER_PLATFORMS
    recipe = (ROOT / "native/collector/builder.yaml").read_text()
    for module, version in re.findall(r"gomod: (\S+) (\S+)", recipe):
        assert f"pkg:golang/{module}@{version}" in components
    assert components.keys() >= ALERTMANAGER
    assert bill() == json.loads(json.dumps(bill()))
    assert len(components) == len(bill()["components"])


def test_no_licence_is_copyleft() -> None:
    """No package that the image installs is under the GPL or one of its relatives."""
    licences = {
        component["name"]: component["licenses"][0]["license"]["name"]
        for component in bill()["components"]
        if "licenses" in component
    }
    copyleft = {
        name: licence
        for name, licence in licences.items()
        if re.search(r"GPL|General Public", licence)
    }
    assert copyleft == {}
