"""Chooses free numbers for the ports of a run, and finds the process that uses a port."""

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from three_pillar_demo.stack import ports
from three_pillar_demo.stack.ports import LOOPBACK, Port, PortError

LOOPBACK_IPV6 = "::1"
MAX_TRIED = 200
"""How many numbers above a default that is in use ``choose`` tries."""


@dataclass(frozen=True)
class Choice:
    """The number that ``choose`` has chosen for a port.

    Attributes:
        port: The port.
        number: The number on which the component will listen.
        default_used_by: What uses the default, if that is why another number was chosen: a process
            or an environment variable; otherwise empty.
    """

    port: Port
    number: int
    default_used_by: str = ""

    def message(self, component: str) -> str:
        """Say why ``component`` does not listen on the default; empty if it does, or was set."""
        if not self.default_used_by:
            return ""
        return (
            f"port {self.port.default} is in use by {self.default_used_by}; "
            f"{component} uses {self.number} ({self.port.variable})"
        )


def choose(wanted_ports: Iterable[Port]) -> list[Choice]:
    """Return a free number for each port, in the order of ``wanted_ports``.

    A number that the environment sets is taken as it is. A default that is in use is replaced by
    the next free number that is not the default of another port.

    Raises:
        PortError: Numbers that the environment sets are in use, equal or invalid, or there is no
            free number near a default. The message has one line for each such port.
    """
    wanted = list(wanted_ports)
    settings = {port: port.setting() for port in wanted}
    claimed = {number: port.variable for port, number in settings.items() if number is not None}
    problems = _problems(settings)
    if problems:
        raise PortError("\n".join(problems))
    choices = []
    for port in wanted:
        number = settings[port]
        choice = Choice(port, number) if number else _choose_near_default(port, claimed)
        claimed[choice.number] = port.variable
        choices.append(choice)
    return choices


def _problems(settings: dict[Port, int | None]) -> list[str]:
    """Return a line for each setting whose number is in use, or is set for another port too."""
    problems = []
    variables: dict[int, str] = {}
    for port, number in settings.items():
        if number is None:
            continue
        if number in variables:
            problems.append(f"{port.variable} and {variables[number]} are both {number}")
        elif is_in_use(number):
            problems.append(
                f"{port.variable}={number}: port {number} is in use by {holder(number)}"
            )
        variables[number] = port.variable
    return problems


def _choose_near_default(port: Port, claimed: dict[int, str]) -> Choice:
    """Choose the default, or the next free number that no variable of ``claimed`` has."""
    used_by = claimed.get(port.default, "")
    if not used_by:
        if not is_in_use(port.default):
            return Choice(port, port.default)
        used_by = holder(port.default)
    defaults = {other.default for other in ports.ALL}
    for number in range(port.default + 1, port.default + MAX_TRIED):
        if number not in claimed and number not in defaults and not is_in_use(number):
            return Choice(port, number, used_by)
    raise PortError(
        f"port {port.default} is in use, and so are the {MAX_TRIED} numbers above it; "
        f"set {port.variable} to a free port"
    )


def is_in_use(number: int) -> bool:
    """Return whether a process listens on the port ``number`` of loopback, by IPv4 or IPv6.

    A process that listens only by IPv6 counts too, because clients that connect to ``localhost``
    try IPv6 first.
    """
    families = ((socket.AF_INET, LOOPBACK), (socket.AF_INET6, LOOPBACK_IPV6))
    return any(_is_bound(family, host, number) for family, host in families)


def _is_bound(family: socket.AddressFamily, host: str, number: int) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as error:
        # Where there is no IPv6, nothing listens by IPv6.
        return family == socket.AF_INET or error.errno == errno.EADDRINUSE
    return False


def holder(number: int) -> str:
    """Return the process that listens on the port ``number``, as "process 123, node".

    The result is "another process" if the system does not show it.
    """
    try:
        for connection in psutil.net_connections("tcp"):
            is_listener = connection.status == psutil.CONN_LISTEN
            if is_listener and getattr(connection.laddr, "port", 0) == number and connection.pid:
                return f"process {connection.pid}, {psutil.Process(connection.pid).name()}"
    except psutil.Error:  # macOS shows the sockets of other users to root only.
        pass
    return "another process"
