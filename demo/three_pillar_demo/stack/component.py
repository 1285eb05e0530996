"""One process of the stack: command, binary, ports, readiness check, and its place in the order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from three_pillar_demo.paths import STATE
from three_pillar_demo.stack.binaries import Binary
from three_pillar_demo.stack.external_binary import ExternalBinary
from three_pillar_demo.stack.ports import LOOPBACK, Port


def variable_prefix(name: str) -> str:
    """Return the beginning of the environment variables of the component ``name``."""
    return name.upper().replace("-", "_")


@dataclass(frozen=True)
class Component:
    """One process of the stack.

    Attributes:
        name: The name of the component. The compose service has the same name.
        command: The command line. If ``binary`` is set, only the arguments of the binary. A
            ``${NAME}`` stands for the environment variable of the component's process.
        ports: All ports on which the component listens. The first port is in the address shown to
            the user.
        ready_path: The HTTP path that answers 200 once the component works. If it is empty, the
            component works once its port accepts connections.
        stop_order: The position when the stack stops, lowest first. Data flows from lower to higher
            positions. Components with the same number stop together.
        binary: The executable; None if ``command`` begins with an executable.
        ready_port: The port of ``ready_path``; None stands for the first of ``ports``.
        grace_seconds: How long the component may take to end after SIGTERM, before SIGKILL.
        ready_timeout_seconds: How long the component may take from its start until it is ready.
        start_order: The position when the stack starts, lowest first. Components of one position
            start together, once all before them are ready.
        environment: Environment variables of this component alone. A ``${NAME}`` stands for
            another of its variables.
    """

    name: str
    command: tuple[str, ...]
    ports: tuple[Port, ...]
    ready_path: str
    stop_order: int
    binary: Binary | ExternalBinary | None = None
    ready_port: Port | None = None
    grace_seconds: float = 10.0
    ready_timeout_seconds: float = 60.0
    start_order: int = 0
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def variable_prefix(self) -> str:
        """The prefix of the environment variables that concern the component."""
        return variable_prefix(self.name)

    @property
    def data(self) -> Path:
        """The folder of the component's data, which is kept across restarts."""
        return STATE / "data" / self.name

    @property
    def log(self) -> Path:
        """The log file, to which stdout and stderr of the component are appended."""
        return STATE / "logs" / f"{self.name}.log"

    @property
    def address(self) -> str:
        """The URL of the component that is shown to the user, on its first port."""
        return self.ports[0].url

    @property
    def ready_url(self) -> str:
        """The URL of the readiness check, which answers 200 once the component works.

        It begins with ``tcp:`` if the component works once the port accepts connections.
        """
        return self.ready_url_at(LOOPBACK)

    def ready_url_at(self, host: str) -> str:
        """Return the URL of the readiness check where the component listens on ``host``."""
        scheme = "http" if self.ready_path else "tcp"
        port = self.ready_port or self.ports[0]
        return f"{scheme}://{host}:{port.number}{self.ready_path}"
