"""The software bill of materials lists all pinned packages, and none has a copyleft licence."""

import json
import re
from pathlib import Path

from bench.bill import bill

ROOT = Path(__file__).parents[2]
PACKAGES_OF_OTHER_PLATFORMS = 5
"""At most this many pinned packages are not installed here, so that their licence is not known."""
ALERTMANAGER = {
    "pkg:golang/github.com/prometheus/alertmanager@v0.31.1",
    "pkg:docker/prom/alertmanager@v0.31.1",
}


def test_bill_lists_everything_pinned() -> None:
    """The bill lists each package of the image with its hashes, and each Go module, once."""
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
    """No installed package has the GPL or one of its variants as its licence."""
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
