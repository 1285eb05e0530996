"""docker-compose.yaml is the full mode's other list: it agrees with the native one.

That it is locked down is judged in tests/compose, which also runs it on a real engine.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from three_pillar_demo.stack.components import BY_NAME, FULL, MODES, Component, environment

COMPOSE: dict[str, Any] = yaml.safe_load(Path("docker-compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
HELPERS = {"otel-collector-init", "demo", "traffic"}
ELSEWHERE = {"grafana"}
"""Runs natively only where GRAFANA_HOME names one; in compose its image's own entry point starts it."""
STARTED_BY_US = [each for each in FULL if each.name not in ELSEWHERE]


def arguments(component: Component) -> list[str]:
    """The command without paths: those differ between a container and this folder."""
    return [
        re.sub(r"[^=\s]*/", "", part)
        for part in component.command[(0 if component.binary else 1) :]
    ]


def test_the_image_gets_what_it_is_made_of() -> None:
    """Every package of the wheel is copied into the image, and what is copied is not ignored, as all else is."""
    packages = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]["packages"]
    copies = [
        line.split()[1:-1]
        for line in Path("Dockerfile").read_text().splitlines()
        if re.match(r"COPY (?!--)", line)
    ]
    copied = {each for sources in copies for each in sources}
    assert {each.partition("/")[0] for each in packages} <= copied
    assert copied <= {
        line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")
    }


def test_the_same_components() -> None:
    """Whoever runs in one list runs in the other, under the same name."""
    assert SERVICES.keys() - HELPERS == {component.name for component in FULL} | ELSEWHERE


@pytest.mark.parametrize("component", STARTED_BY_US, ids=lambda component: component.name)
def test_the_same_command(component: Component) -> None:
    """Both start a component with the same arguments, but for where files lie and which address it listens on."""
    compose = [re.sub(r"[^=\s]*/", "", part) for part in SERVICES[component.name]["command"]]
    ours = [part for part in arguments(component) if not part.startswith("--web.listen-address")]
    assert compose[(0 if component.binary else 1) :] == ours


@pytest.mark.parametrize(
    "component", [each for each in FULL if each.binary], ids=lambda component: component.name
)
def test_the_same_version(component: Component) -> None:
    """The image has the version that is built natively, or known to work there."""
    assert component.binary
    assert (
        SERVICES[component.name]["image"].rsplit(":", 1)[1].removeprefix("v")
        == component.binary.version
    )


@pytest.mark.parametrize("component", FULL, ids=lambda component: component.name)
def test_the_same_ports_on_loopback_only(component: Component) -> None:
    """A published port is one of the component's own, has the same number inside, and is not for the network."""
    for port in SERVICES[component.name]["ports"]:
        host, outside, inside = port.split(":")
        assert host == "127.0.0.1"
        assert outside == inside
        assert int(outside) in component.ports


@pytest.mark.parametrize("mode", MODES)
def test_every_port_is_unique_in_the_whole_house(mode: str) -> None:
    """No two components that run together want the same port, so that all fit on one host."""
    ports = [port for component in MODES[mode] for port in component.ports]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize(
    "file", ["grafana/grafana.ini", *map(str, Path("grafana/provisioning").rglob("*.yaml"))]
)
def test_grafana_has_what_its_files_ask_for(file: str) -> None:
    """Each variable that Grafana's own files name is in its container's environment, and its native one where it has one."""
    settings = re.sub(r"(?m)^\s*#.*$", "", Path(file).read_text())
    asked = set(re.findall(r"(?<!\$)\$\{?([A-Z][A-Z_]+)", settings))
    assert asked <= SERVICES["grafana"]["environment"].keys()
    if "grafana" in BY_NAME:
        assert asked <= environment(BY_NAME["grafana"]).keys()


def test_peers_have_their_compose_names_by_default() -> None:
    """A config file names a peer as ${NAME_HOST} with the compose name as default, and the native list sets that variable."""
    native = environment(BY_NAME["payment"])
    for file in (
        "otel-collector.yaml",
        "config/tempo.yaml",
        "config/loki.yaml",
        "docker-compose.yaml",
    ):
        for variable, default in re.findall(
            r"\$\{(?:env:)?([A-Z_]+_HOST):-([a-z-]+)\}", Path(file).read_text()
        ):
            assert default in SERVICES
            assert variable == f"{default.upper().replace('-', '_')}_HOST"
            assert native[variable] == "127.0.0.1"
