"""What is looked at before anything is started: the binaries that a person brings, the disk, the ports."""

import shutil
import socket
from collections.abc import Iterable

import psutil

from three_pillar_demo.stack.components import LOOPBACK, STATE, Component
from three_pillar_demo.stack.external_binary import ExternalBinary

FREE_BYTES = 1024**3
"""Disk that a run wants free: retention keeps what the backends store under it."""


class LaunchError(Exception):
    """The stack cannot start or go on; the text names the component, the reason and the log."""


def check_official(components: Iterable[Component]) -> list[str]:
    """Refuse to start without the binaries that a person brings; returns a warning for each that may not fit our config files.

    Raises:
        LaunchError: With those that are missing, and the ways to have them.
    """
    wanted = [
        component.binary for component in components if isinstance(component.binary, ExternalBinary)
    ]
    missing = [official for official in wanted if not official.path]
    if missing:
        names = " and ".join(f"{each.name} {each.version}" for each in missing)
        it = "it" if len(missing) == 1 else "them"
        raise LaunchError(
            f"--full wants {names} on PATH; nothing has been started.\n"
            f"Either put {it} there, from the official release or package:\n"
            + "".join(f"  {each.releases}\n" for each in missing)
            + "or run everything in containers: docker compose up\n"
            "(`demo up` without --full needs Python alone.)"
        )
    return [doubt for official in wanted if (doubt := official.doubt())]


def check_disk() -> None:
    """Refuse to start on a nearly full disk.

    Raises:
        LaunchError: Less than ``FREE_BYTES`` is free.
    """
    free = shutil.disk_usage(STATE).free
    if free < FREE_BYTES:
        raise LaunchError(
            f"only {free / 1024**2:.0f} MiB are free at {STATE}; the stack wants {FREE_BYTES / 1024**2:.0f} MiB"
        )


def check_ports(components: Iterable[Component]) -> None:
    """Refuse to start when somebody else listens on one of our ports.

    Raises:
        LaunchError: With every port that is taken, and by whom where that can be seen.
    """
    taken = [
        f"  port {port} ({component.name}){_holder(port)}"
        for component in components
        for port in component.ports
        if _taken(port)
    ]
    if taken:
        raise LaunchError(
            "these ports are in use; stop what listens there and try again:\n" + "\n".join(taken)
        )


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
        listening = {
            getattr(each.laddr, "port", 0): each.pid
            for each in connections
            if each.status == psutil.CONN_LISTEN
        }
        pid = listening.get(port)
        return f": process {pid}, {psutil.Process(pid).name()}" if pid else ""
    except psutil.Error:  # macOS shows other people's sockets to root only
        return ""
