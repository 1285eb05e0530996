"""Every container of docker-compose.yaml is locked down, limited and pinned.

The file is tested as Compose resolves it, or as plain YAML if Compose is not installed.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.compose import engine
from three_pillar_demo.stack import ports

SERVICES: dict[str, Any] = engine.resolved_file()["services"]
DEMO_HOME = re.search(r"DEMO_HOME=(\S+)", Path("Dockerfile").read_text())[1]  # type: ignore[index]
MAY_RUN_AS_ROOT = {"otel-collector-init"}
"""The init container runs as root because it changes the owner of a new volume; it has only the
capability CHOWN and no network, and ends at once."""
BYTES_PER_UNIT = {"": 1, "m": 2**20, "mib": 2**20, "g": 2**30, "gib": 2**30}


@pytest.mark.parametrize("name", SERVICES)
def test_published_ports_are_on_loopback(name: str) -> None:
    """Ports are published on 127.0.0.1 only, on the number that a variable sets."""
    numbers = {port.default: port.setting() for port in ports.ALL}
    for published in SERVICES[name].get("ports", []):
        if isinstance(published, str):  # Compose is not installed, so variables are not resolved.
            assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+_PORT:-(\d+)\}:\1", published)
        else:
            assert published["host_ip"] == "127.0.0.1"
            assert int(published["published"]) == numbers[published["target"]]


@pytest.mark.parametrize("name", SERVICES)
def test_containers_do_not_run_as_root(name: str) -> None:
    """No container is root or has a capability, except for one, which has no network."""
    service = SERVICES[name]
    assert re.fullmatch(r"\d+:\d+", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    if name in MAY_RUN_AS_ROOT:
        assert (service["cap_add"], service["network_mode"]) == (["CHOWN"], "none")
    else:
        assert not service["user"].startswith("0:")
        assert not service.get("cap_add")


@pytest.mark.parametrize("name", SERVICES)
def test_containers_have_limits(name: str) -> None:
    """Memory, CPU, processes and logs are limited, and Go programs get 75 to 90 % as GOMEMLIMIT."""
    service = SERVICES[name]
    memory = _bytes(service["mem_limit"])
    assert memory > 0
    assert float(service["cpus"]) > 0
    assert int(service["pids_limit"]) > 0
    assert service["read_only"] is True
    assert service["logging"]["options"]["max-size"]
    go_memory_limit = (service.get("environment") or {}).get("GOMEMLIMIT")
    if service["image"] == engine.OUR_IMAGE:
        assert go_memory_limit is None
    else:
        assert 0.75 * memory <= _bytes(go_memory_limit or 0) <= 0.9 * memory


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """The tag of each image is a full version of three numbers."""
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_configuration_is_mounted_read_only(name: str) -> None:
    """A container writes only to named volumes and memory, and never to the repository."""
    for volume in SERVICES[name].get("volumes", []):
        if isinstance(volume, str):
            assert volume.endswith(":ro") or not volume.startswith((".", "/"))
        else:
            assert volume["type"] == "volume" or volume["read_only"] is True


def test_dependencies_with_a_health_check_are_awaited() -> None:
    """A container starts once its dependencies are healthy; only the Collector does not wait."""
    for name, service in SERVICES.items():
        if name == "otel-collector":  # Its queue holds what a backend cannot accept yet.
            continue
        for dependency, condition in (service.get("depends_on") or {}).items():
            if "healthcheck" in SERVICES[dependency]:
                assert condition["condition"] == "service_healthy", (name, dependency)


def test_containers_stop_in_the_direction_of_the_data() -> None:
    """Compose stops the services first, then the Collector, and the backends last."""
    assert {"payment", "otel-collector"} <= SERVICES["checkout"]["depends_on"].keys()
    assert "otel-collector" in SERVICES["payment"]["depends_on"]
    assert {"tempo", "loki", "prometheus"} <= SERVICES["otel-collector"]["depends_on"].keys()


@pytest.mark.parametrize("folder", ["provisioning", "dashboards"])
def test_grafana_files_are_below_demo_home(folder: str) -> None:
    """In its container, the demo command finds Grafana's files below DEMO_HOME."""
    targets = {
        volume.split(":")[1] if isinstance(volume, str) else volume["target"]
        for volume in SERVICES["demo"]["volumes"]
    }
    assert f"{DEMO_HOME}/grafana/{folder}" in targets
    assert Path("grafana", folder).is_dir()


def _bytes(limit: str | int) -> int:
    """Return a memory limit such as ``768m``, ``640MiB`` or ``"805306368"`` in bytes."""
    match = re.fullmatch(r"(\d+)\s*([a-zA-Z]*)", str(limit))
    assert match, limit
    return int(match[1]) * BYTES_PER_UNIT[match[2].lower()]
