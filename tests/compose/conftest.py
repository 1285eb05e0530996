"""The project of docker-compose.yaml on a Docker engine; without one, its tests are skipped."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.compose import engine, standins


@dataclass
class ComposeProject:
    """The running containers of docker-compose.yaml.

    Attributes:
        images: The source of each image: ``official``, ``stand-in`` or ``left out``.
        services: The services that run by default, without those whose image is left out.
    """

    images: dict[str, str] = field(default_factory=dict)
    services: list[str] = field(default_factory=list)

    def up(self) -> None:
        """Start the containers, and wait until all with a health check are healthy."""
        engine.compose("up", "--detach", "--wait", "--wait-timeout", "120", *self.services)


@pytest.fixture(scope="package")
def project() -> Iterator[ComposeProject]:
    """The running project, built from scratch, and removed with its volumes afterwards."""
    if reason := engine.unavailable_reason():
        pytest.skip(reason)
    services = {
        name: service
        for name, service in engine.resolved_file()["services"].items()
        if not service.get("profiles")
    }
    _check_ports(services)
    project = ComposeProject()
    try:
        _provide_images(project, services)
        engine.compose("build")
        project.up()
        yield project
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


def _check_ports(services: dict[str, Any]) -> None:
    ports = {port for service in services.values() for port in _published_ports(service)}
    in_use = sorted(port for port in ports if _is_in_use(port))
    if in_use:
        pytest.fail(
            f"ports {in_use} are in use: stop what runs there first "
            "(demo down, docker compose down)"
        )


def _provide_images(project: ComposeProject, services: dict[str, Any]) -> None:
    names = {service["image"] for service in services.values()} - {engine.OUR_IMAGE}
    for name in (standins.base_image(), *sorted(names)):
        project.images[name] = standins.provide(name)
    project.services = [
        name
        for name, service in services.items()
        if project.images.get(service["image"]) != "left out"
    ]


def _published_ports(service: dict[str, Any]) -> list[int]:
    return [int(port["published"]) for port in service.get("ports", [])]


def _is_in_use(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
