"""Chooses free numbers for the ports of a run, and finds the process that uses a port."""

import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from three_pillar_demo.stack import ports
from three_pillar_demo.stack.port_claims import PortClaims
from three_pillar_demo.stack.ports import LOOPBACK, Port, PortError

LOOPBACK_IPV6 = "::1"
MAX_TRIED = 200
"""How many numbers above a default that is not free ``choose`` tries."""
CLAIMED = "is claimed by another stack of yours, which runs or is starting"


@dataclass(frozen=True)
class Choice:
    """The number that ``choose`` has chosen for a port.

    Attributes:
        port: The port.
        number: The number on which the component will listen.
        obstacle: Why the default was not chosen, such as "is in use by process 123, node"; empty if
            it was, or if the environment sets the number.
    """

    port: Port
    number: int
    obstacle: str = ""

    def message(self, component: str) -> str:
        """Say why ``component`` does not listen on the default; empty if it does, or was set."""
        if not self.obstacle:
            return ""
        return (
            f"port {self.port.default} {self.obstacle}; "
            f"{component} uses {self.number} ({self.port.variable})"
        )


def choose(wanted_ports: Iterable[Port], claims: PortClaims) -> list[Choice]:
    """Return a free number for each port, in the order of ``wanted_ports``, and claim it.

    A number that the environment sets is taken as it is. A default that is not free is replaced by
    the next free number that is not the default of another port.

    Raises:
        PortError: Numbers that the environment sets are not free, equal or invalid, or there is no
            free number near a default. The message has one line for each such port.
    """
    wanted = list(wanted_ports)
    settings = {port: port.setting() for port in wanted}
    claimed = {number: port.variable for port, number in settings.items() if number is not None}
    problems = _problems(settings, claims)
    if problems:
        raise PortError("\n".join(problems))
    choices = []
    for port in wanted:
        number = settings[port]
        choice = Choice(port, number) if number else _choose_near_default(port, claimed, claims)
        claimed[choice.number] = port.variable
        choices.append(choice)
    return choices


def _problems(settings: dict[Port, int | None], claims: PortClaims) -> list[str]:
    """Claim all numbers that are set; return a line for each one that is set twice or not free."""
    problems = []
    variables: dict[int, str] = {}
    for port, number in settings.items():
        if number is None:
            continue
        if number in variables:
            problems.append(f"{port.variable} and {variables[number]} are both {number}")
        elif reason := _claim(number, claims):
            problems.append(f"{port.variable}={number}: port {number} {reason}")
        variables[number] = port.variable
    return problems


def _choose_near_default(port: Port, claimed: dict[int, str], claims: PortClaims) -> Choice:
    """Choose the default, or the next free number that no variable of ``claimed`` has."""
    variable = claimed.get(port.default)
    obstacle = f"is in use by {variable}" if variable else _claim(port.default, claims)
    if not obstacle:
        return Choice(port, port.default)
    defaults = {other.default for other in ports.ALL}
    for number in range(port.default + 1, port.default + MAX_TRIED):
        if number not in claimed and number not in defaults and not _claim(number, claims):
            return Choice(port, number, obstacle)
    raise PortError(
        f"port {port.default} {obstacle}, and none of the {MAX_TRIED} numbers above it is free; "
        f"set {port.variable} to a free port"
    )


def _claim(number: int, claims: PortClaims) -> str:
    """Claim the port ``number``; return why it is not free, or "" if it is."""
    # The claim comes last, so that no launcher claims a port that it does not use.
    return problem_of(number) or ("" if claims.take(number) else CLAIMED)


def problem_of(number: int) -> str:
    """Return why no component can listen on the port ``number`` of loopback; "" if it can.

    A process that listens only by IPv6 is a reason too, because clients that connect to
    ``localhost`` try IPv6 first.
    """
    error_number = _bind_error(socket.AF_INET, LOOPBACK, number)
    # Where there is no IPv6, nothing listens by IPv6.
    by_ipv6 = _bind_error(socket.AF_INET6, LOOPBACK_IPV6, number)
    if errno.EADDRINUSE in {error_number, by_ipv6}:
        return f"is in use by {holder(number)}"
    if error_number:
        return f"cannot be used: {os.strerror(error_number)}"
    return ""


def _bind_error(family: socket.AddressFamily, host: str, number: int) -> int:
    """Return the number of the error with which the address cannot be bound; 0 if it can."""
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


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
