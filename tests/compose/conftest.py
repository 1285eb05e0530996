"""The compose file on a real engine, once for all tests of this folder; without an engine they are skipped with the reason."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.compose import engine, standins


@dataclass
class House:
    """The running project.

    Attributes:
        images: How each image came to be: official, stand-in or left out.
        services: The services that run by default, but for those whose image is left out.
    """

    images: dict[str, str] = field(default_factory=dict)
    services: list[str] = field(default_factory=list)

    def up(self) -> None:
        """Start it; comes back when everything with a health check is healthy."""
        engine.compose("up", "--detach", "--wait", "--wait-timeout", "120", *self.services)

    @property
    def stand_ins(self) -> list[str]:
        """The images that are not the official ones."""
        return [name for name, how in self.images.items() if how == "stand-in"]


@pytest.fixture(scope="package")
def house() -> Iterator[House]:
    """The project, built and started from nothing; nothing of it is left afterwards."""
    if reason := engine.why_not():
        pytest.skip(reason)
    house = House()
    services = {
        name: each
        for name, each in engine.resolved()["services"].items()
        if not each.get("profiles")
    }
    in_use = sorted({port for each in services.values() for port in _ports(each) if _taken(port)})
    if in_use:
        pytest.fail(
            f"ports {in_use} are in use: stop what runs there first (demo down, docker compose down)"
        )
    try:
        for name in (
            standins.base_image(),
            *sorted({each["image"] for each in services.values()} - {engine.OURS}),
        ):
            house.images[name] = standins.provide(name)
        house.services = [
            name for name, each in services.items() if house.images.get(each["image"]) != "left out"
        ]
        engine.compose("build")
        house.up()
        yield house
    except standins.MissingError as error:
        pytest.skip(str(error))
    finally:
        engine.compose(
            "--profile",
            "*",
            "down",
            "--volumes",
            "--timeout",
            "15",
            "--remove-orphans",
            check=False,
        )
        standins.remove()


def _ports(service: dict[str, object]) -> list[int]:
    published = service.get("ports", [])
    assert isinstance(published, list)
    return [int(each["published"]) for each in published]


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
