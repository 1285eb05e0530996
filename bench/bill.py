"""Print the software bill of materials as CycloneDX JSON: ``python -m bench.bill``.

The bill lists the Python packages with the hashes that pip checks, the Go modules of Collector,
Prometheus and Alertmanager and of the tools that only tests build, and the images of
docker-compose.yaml. Tempo, Loki and Grafana appear only as images, because this project does not
build them.

The licences are read from the installed packages. Everything else is read from files of this
repository, and so is the same on every machine.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import yaml

from native.build import TEST_TOOLS

ROOT = Path(__file__).parent.parent
SCOPES = {"requirements/runtime.lock": "required", "requirements/dev.lock": "excluded"}
"""The CycloneDX scope of the packages in each lock file: ``required`` for packages of the demo's
image, ``excluded`` for packages that only development and tests use."""

Component = dict[str, Any]


def python_packages() -> Iterator[Component]:
    """Yield each Python package of the lock files once, as a component with its hashes."""
    listed = set[str]()
    for lock, scope in SCOPES.items():
        pins = re.findall(
            r"^([\w.-]+)==(\S+)((?:.*\n    .+)+)", (ROOT / lock).read_text(), re.MULTILINE
        )
        for name, version, options in pins:
            if name in listed:
                continue
            listed.add(name)
            package = component("library", name, version, f"pkg:pypi/{name}@{version}", scope)
            hashes = re.findall(r"sha256:(\w+)", options)
            package["hashes"] = [{"alg": "SHA-256", "content": digest} for digest in hashes]
            stated_licence = licence(name)
            if stated_licence:
                package["licenses"] = [{"license": {"name": stated_licence}}]
            yield package


def licence(name: str) -> str:
    """Return the licence named in the metadata of package ``name``.

    The result is an empty string if the package is not installed or names no licence.
    """
    try:
        fields = metadata(name)
    except PackageNotFoundError:
        return ""
    classified = [
        classifier.rsplit(" :: ", 1)[-1]
        for classifier in fields.get_all("Classifier") or []
        if classifier.startswith("License ::")
    ]
    stated = [text.strip().split("\n")[0] for text in fields.get_all("License") or []]
    return ", ".join(fields.get_all("License-Expression") or classified or stated)


def go_modules() -> Iterator[Component]:
    """Yield the Go modules pinned below native/, those that only tests use as ``excluded``."""
    listed = set[tuple[str, str]]()
    files = [file for name in ("go.sum", "builder.yaml") for file in (ROOT / "native").rglob(name)]
    # The tools of tests are last: a module that the demo uses too is not excluded.
    for file in sorted(files, key=lambda file: (file.parent.name in TEST_TOOLS, file)):
        scope = "excluded" if file.parent.name in TEST_TOOLS else "optional"
        pins = re.findall(
            r"(?:^|gomod: )([\w./-]+\.\w+/\S+) (v[^\s/]+)(?:$| h1)",
            file.read_text(),
            re.MULTILINE,
        )
        for name, version in pins:
            if (name, version) not in listed:
                listed.add((name, version))
                purl = f"pkg:golang/{name}@{version}"
                yield component("library", name, version, purl, scope)


def images() -> Iterator[Component]:
    """Yield each image of docker-compose.yaml that compose pulls and does not build."""
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"].values()
    for image in sorted({service["image"] for service in services if "build" not in service}):
        name, version = image.split(":")
        short_name = name.rsplit("/", 1)[-1]
        item = component("container", name, version, f"pkg:docker/{name}@{version}", "optional")
        item["description"] = f"official {short_name}"
        yield item


def component(kind: str, name: str, version: str, purl: str, scope: str) -> Component:
    """Return a CycloneDX component; ``purl`` is its package URL, such as ``pkg:pypi/NAME@1.0``."""
    return {
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "scope": scope,
    }


def bill() -> dict[str, Any]:
    """Return the whole bill of materials as a CycloneDX 1.6 document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    application = {
        "type": "application",
        "bom-ref": project["name"],
        "name": project["name"],
        "version": project["version"],
        "licenses": [{"license": {"id": project["license"]}}],
    }
    components = [*python_packages(), *go_modules(), *images()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": application},
        "components": sorted(components, key=lambda item: str(item["purl"])),
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
    sys.stdout.write("\n")
