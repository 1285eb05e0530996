"""What Compose makes of the file, merged and expanded: nothing for the network, nobody root, nothing without a limit or a pin.

Without Compose the plain YAML is judged; the tests say the same of both.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.compose import engine

SERVICES: dict[str, Any] = engine.resolved()["services"]
HOME = re.search(r"DEMO_HOME=(\S+)", Path("Dockerfile").read_text())[1]  # type: ignore[index]
ROOT_ALLOWED = {"otel-collector-init"}
"""It gives a fresh volume to the Collector's user: CHOWN only, no network, and it ends."""


@pytest.mark.parametrize("name", SERVICES)
def test_every_published_port_is_on_loopback(name: str) -> None:
    """A port is bound to 127.0.0.1 and has the same number inside."""
    for port in SERVICES[name].get("ports", []):
        host, outside, inside = (
            port.split(":")
            if isinstance(port, str)
            else (port.get("host_ip"), port["published"], port["target"])
        )
        assert (host, str(outside)) == ("127.0.0.1", str(inside))


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_is_root(name: str) -> None:
    """A container has a user of its own, by number, and no capability; the one exception has no network."""
    service = SERVICES[name]
    assert re.fullmatch(r"\d+:\d+", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    if name in ROOT_ALLOWED:
        assert (service["cap_add"], service["network_mode"]) == (["CHOWN"], "none")
    else:
        assert not service["user"].startswith("0:")
        assert not service.get("cap_add")


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_its_limits(name: str) -> None:
    """Memory, CPU, processes and what is logged are bounded; a Go program knows its memory limit and has room above it."""
    service = SERVICES[name]
    memory = _bytes(service["mem_limit"])
    assert memory > 0
    assert float(service["cpus"]) > 0
    assert int(service["pids_limit"]) > 0
    assert service["read_only"] is True
    assert service["logging"]["options"]["max-size"]
    ours = service["image"] == engine.OURS
    limit = (service.get("environment") or {}).get("GOMEMLIMIT")
    if ours:
        assert limit is None
    else:
        assert 0.75 * memory <= _bytes(limit or 0) <= 0.9 * memory


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    """An image has a full version."""
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_configuration_is_mounted_read_only(name: str) -> None:
    """A container writes to named volumes and to memory, and to nothing of this folder."""
    for volume in SERVICES[name].get("volumes", []):
        if isinstance(volume, str):
            assert volume.endswith(":ro") or not volume.startswith((".", "/"))
        else:
            assert volume["type"] == "volume" or volume["read_only"] is True


def test_who_waits_for_whom() -> None:
    """Where there is a health check, whoever depends on it waits for it, but for the Collector: its queue waits instead."""
    for name, service in SERVICES.items():
        for other, condition in (service.get("depends_on") or {}).items():
            if "healthcheck" in SERVICES[other] and name != "otel-collector":
                assert condition["condition"] == "service_healthy", (name, other)


def test_it_stops_along_the_data() -> None:
    """Compose stops a service before what it depends on: first who buys and sells, then the Collector, then the backends."""
    assert {"payment", "otel-collector"} <= SERVICES["checkout"]["depends_on"].keys()
    assert "otel-collector" in SERVICES["payment"]["depends_on"]
    assert {"tempo", "loki", "prometheus"} <= SERVICES["otel-collector"]["depends_on"].keys()


@pytest.mark.parametrize("folder", ["provisioning", "dashboards"])
def test_the_demo_finds_the_links_where_it_looks(folder: str) -> None:
    """Grafana's files are mounted below the folder that DEMO_HOME names in the image."""
    targets = {
        volume.split(":")[1] if isinstance(volume, str) else volume["target"]
        for volume in SERVICES["demo"]["volumes"]
    }
    assert f"{HOME}/grafana/{folder}" in targets
    assert Path("grafana", folder).is_dir()


def _bytes(limit: str | int) -> int:
    """What ``768m``, ``640MiB`` and ``"805306368"`` mean."""
    number, unit = re.fullmatch(r"(\d+)\s*([a-zA-Z]*)", str(limit)).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1, "m": 2**20, "mib": 2**20, "g": 2**30, "gib": 2**30}[unit.lower()]
