"""What this house is made of: a software bill of materials in CycloneDX's JSON, from the lock files alone, the same every time.

Python packages with the hashes they are checked by, and the licence that an installed one states; Go modules of Collector,
Prometheus and Alertmanager; the images of compose. Tempo, Loki and Grafana a person brings, or Docker: only their images
are named.
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

ROOT = Path(__file__).parent.parent
LOCKS = {"requirements/runtime.lock": "required", "requirements/dev.lock": "excluded"}
"""The scope of what each lock pins: in the image, or only where it is tested."""


def python() -> Iterator[dict[str, Any]]:
    """Every pinned package, once, with its hashes."""
    seen = set[str]()
    for lock, scope in LOCKS.items():
        for name, version, hashes in re.findall(
            r"^([\w.-]+)==(\S+)((?:.*\n    .+)+)", (ROOT / lock).read_text(), re.MULTILINE
        ):
            if name not in seen:
                seen.add(name)
                part = component("library", name, version, f"pkg:pypi/{name}@{version}", scope)
                part["hashes"] = [
                    {"alg": "SHA-256", "content": each}
                    for each in re.findall(r"sha256:(\w+)", hashes)
                ]
                yield part | (
                    {"licenses": [{"license": {"name": found}}]} if (found := licence(name)) else {}
                )


def licence(name: str) -> str:
    """What an installed package says about itself."""
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return ""
    classified = [
        each.rsplit(" :: ", 1)[-1]
        for each in about.get_all("Classifier") or []
        if each.startswith("License ::")
    ]
    stated = [each.strip().split("\n")[0] for each in about.get_all("License") or []]
    return ", ".join(about.get_all("License-Expression") or classified or stated)


def go() -> Iterator[dict[str, Any]]:
    """The modules that Collector, Prometheus and Alertmanager are built from."""
    seen = set[tuple[str, str]]()
    for file in sorted((ROOT / "native").rglob("*")):
        if file.name in {"go.sum", "builder.yaml"}:
            found = re.findall(
                r"(?:^|gomod: )([\w./-]+\.\w+/\S+) (v[^\s/]+)(?:$| h1)",
                file.read_text(),
                re.MULTILINE,
            )
            for name, version in found:
                if (name, version) not in seen:
                    seen.add((name, version))
                    yield component(
                        "library", name, version, f"pkg:golang/{name}@{version}", "optional"
                    )


def images() -> Iterator[dict[str, Any]]:
    """The images that compose runs, but for our own."""
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"].values()
    for image in sorted({each["image"] for each in services if "build" not in each}):
        name, version = image.split(":")
        short = name.rsplit("/", 1)[-1]
        yield component("container", name, version, f"pkg:docker/{name}@{version}", "optional") | {
            "description": f"official {short}"
        }


def component(kind: str, name: str, version: str, purl: str, scope: str) -> dict[str, Any]:
    """One part."""
    return {
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "scope": scope,
    }


def bill() -> dict[str, Any]:
    """All of it."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {
        "type": "application",
        "bom-ref": about["name"],
        "name": about["name"],
        "version": about["version"],
    }
    ours["licenses"] = [{"license": {"id": about["license"]}}]
    parts = sorted([*python(), *go(), *images()], key=lambda part: part["purl"])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": ours},
        "components": parts,
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
    sys.stdout.write("\n")
