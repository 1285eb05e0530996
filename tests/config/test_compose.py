"""docker-compose.yaml has the same components as the full mode of ``demo up``.

"Native" means started by ``demo up`` as a process, without a container. Other tests of the file,
such as the hardening of containers, are in tests/compose.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from three_pillar_demo.stack import ports
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.components import BY_NAME, FULL, MODES
from three_pillar_demo.stack.environment import variables_of

COMPOSE: dict[str, Any] = yaml.safe_load(Path("docker-compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
COMPOSE_ONLY = {"otel-collector-init", "otel-collector-queue-check", "demo", "traffic"}
STARTED_BY_IMAGE = {"grafana"}
"""Components whose image starts them without a command in docker-compose.yaml. Natively, Grafana
runs only if GRAFANA_HOME is set."""
STARTED_BY_COMMAND = [component for component in FULL if component.name not in STARTED_BY_IMAGE]


def without_folders(command: list[str] | tuple[str, ...]) -> list[str]:
    """Return the words of a command with each path reduced to its file name."""
    return [re.sub(r"[^=\s]*/", "", argument) for argument in command]


def arguments(component: Component, command: list[str] | tuple[str, ...]) -> list[str]:
    """Return the arguments of a command, without folders, for a comparison.

    The first word is dropped if the component is a Python module, since it only names the
    interpreter.
    """
    return without_folders(command if component.binary else command[1:])


def wheel_packages(pyproject: Path) -> set[str]:
    """Return the package folders of the wheel of ``pyproject``, relative to the repository."""
    settings = tomllib.loads(pyproject.read_text())
    packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return {str(pyproject.parent / package) for package in packages}


def test_image_contains_all_packages_and_services() -> None:
    """The Dockerfile copies all packages and services, and .dockerignore excludes none of them."""
    copied = set()
    for line in Path("Dockerfile").read_text().splitlines():
        if re.match(r"COPY (?!--)", line):
            copied |= set(line.split()[1:-1])
    packages = wheel_packages(Path("pyproject.toml"))
    packages |= wheel_packages(Path("telemetry/pyproject.toml"))
    assert {package.partition("/")[0] for package in packages} | {"services"} <= copied
    not_ignored = {
        line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied <= not_ignored


def test_image_imports_the_services_from_its_working_folder() -> None:
    """The image has the services in its working folder, which is also DEMO_HOME."""
    *_, final_stage = Path("Dockerfile").read_text().split("\nFROM ")
    (folder,) = re.findall(r"^WORKDIR (\S+)", final_stage, re.MULTILINE)
    assert "\nCOPY services services\n" in final_stage
    assert f"DEMO_HOME={folder}\n" in final_stage
    for name in ("checkout", "payment"):
        assert SERVICES[name]["command"] == ["python", "-m", f"services.{name}"]
    for volume in SERVICES["demo"]["volumes"]:
        source, target, _mode = volume.split(":")
        assert target == f"{folder}/{source.removeprefix('./')}"


def test_both_lists_have_the_same_components() -> None:
    """Compose and full mode have the same components, under the same names."""
    native = {component.name for component in FULL}
    assert SERVICES.keys() - COMPOSE_ONLY == native | STARTED_BY_IMAGE


@pytest.mark.parametrize("component", STARTED_BY_COMMAND, ids=lambda component: component.name)
def test_both_lists_have_the_same_arguments(component: Component) -> None:
    """A component has the same arguments in both modes, except for folders and listen address."""
    native = [
        argument
        for argument in arguments(component, component.command)
        if not argument.startswith("--web.listen-address")
    ]
    assert arguments(component, SERVICES[component.name]["command"]) == native


@pytest.mark.parametrize(
    "component",
    [component for component in FULL if component.binary],
    ids=lambda component: component.name,
)
def test_both_lists_have_the_same_versions(component: Component) -> None:
    """The image of a component has the same version as its native binary."""
    assert component.binary
    tag = SERVICES[component.name]["image"].rsplit(":", 1)[1]
    assert tag.removeprefix("v") == component.binary.version


@pytest.mark.parametrize("component", FULL, ids=lambda component: component.name)
def test_ports_are_published_on_loopback_only(component: Component) -> None:
    """A container publishes only ports of its component, on 127.0.0.1, each with its variable."""
    published = {
        f"127.0.0.1:${{{port.variable}:-{port.default}}}:{port.default}" for port in component.ports
    }
    assert set(SERVICES[component.name]["ports"]) <= published


@pytest.mark.parametrize("mode", MODES)
def test_every_port_is_unique(mode: str) -> None:
    """No two components of a mode use the same port."""
    defaults = [port.default for component in MODES[mode] for port in component.ports]
    assert len(defaults) == len(set(defaults))


GRAFANA_FILES = [
    "grafana/grafana.ini",
    *map(str, sorted(Path("grafana/provisioning").rglob("*.yaml"))),
]


@pytest.mark.parametrize("file", GRAFANA_FILES)
def test_grafana_has_the_variables_of_its_files(file: str) -> None:
    """Each variable in Grafana's files is set in its container, and natively if Grafana runs."""
    settings = re.sub(r"(?m)^\s*#.*$", "", Path(file).read_text())
    variables = set(re.findall(r"(?<!\$)\$\{?([A-Z][A-Z_]+)", settings))
    assert variables <= SERVICES["grafana"]["environment"].keys()
    if "grafana" in BY_NAME:
        assert variables <= variables_of(BY_NAME["grafana"]).keys()


def test_hosts_default_to_their_compose_names() -> None:
    """A ${NAME_HOST} in a file defaults to the Compose service, and is 127.0.0.1 natively."""
    native = variables_of(BY_NAME["payment"])
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


@pytest.mark.parametrize(
    "file", ["otel-collector.yaml", "config/tempo.yaml", "config/loki.yaml", "docker-compose.yaml"]
)
def test_ports_in_files_have_the_defaults_of_the_settings(file: str) -> None:
    """A ${NAME_PORT} in a file defaults to the port's default, and no port is without a name."""
    defaults = {port.variable: port.default for port in ports.ALL}
    settings = re.sub(r"(?m)^\s*#.*$", "", Path(file).read_text())
    named = re.findall(r"\$\{(?:env:)?([A-Z_]+_PORT):-(\d+)\}", settings)
    assert named
    assert {(name, int(default)) for name, default in named} <= defaults.items()
    unnamed = re.findall(r"(?<!-)\b(\d{4,5})\b(?=[/\"\s]|$)", settings)
    if file != "docker-compose.yaml":  # Inside of a container the ports do not change.
        assert not {int(number) for number in unnamed} & set(defaults.values())


def test_ports_of_grafanas_files_are_the_defaults_in_its_container() -> None:
    """The container of Grafana has the default of each port that its files name."""
    environment = SERVICES["grafana"]["environment"]
    for port in (ports.GRAFANA, ports.TEMPO, ports.LOKI, ports.PROMETHEUS):
        assert environment[port.variable] == port.default
