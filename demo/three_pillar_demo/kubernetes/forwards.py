"""Forwarded ports of the cluster's Services, on loopback."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from three_pillar_demo.kubernetes.cluster import NAMESPACE, Cluster, ClusterError
from three_pillar_demo.stack import ports
from three_pillar_demo.stack.ports import LOOPBACK, Port

FORWARDED = {
    "web": ports.WEB,
    "grafana": ports.GRAFANA,
    "checkout": ports.CHECKOUT,
    "tempo": ports.TEMPO,
    "loki": ports.LOKI,
    "prometheus": ports.PROMETHEUS,
}
"""The Services that a browser and `demo verify` need, each with its port."""
FIXED = {"web", "grafana"}
"""Services that answer on their default port only: the web UI to the name 127.0.0.1:8080, and its
links lead to Grafana's default port."""
OPEN_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5
POLL_INTERVAL_S = 0.1


def local_port(name: str) -> int:
    """Return the port on loopback that leads to the Service ``name``."""
    port: Port = FORWARDED[name]
    return port.default if name in FIXED else port.number


def check_ports() -> None:
    """Check that all local ports are free.

    Raises:
        ClusterError: A port is in use.
    """
    for name, port in FORWARDED.items():
        if accepts_connections(local_port(name)):
            variable = "" if name in FIXED else f", or set {port.variable}"
            raise ClusterError(
                f"port {local_port(name)} of {name} is in use: stop what listens there{variable}"
            )


@contextmanager
def forwarded(cluster: Cluster) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Forward all ports until the end of the block; the value is the process of each.

    Raises:
        ClusterError: A port does not open within ``OPEN_TIMEOUT_S``.
    """
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, port in FORWARDED.items():
            pair = f"{local_port(name)}:{port.default}"
            command = [cluster.kubectl, "--namespace", NAMESPACE, "port-forward"]
            command += [f"--address={LOOPBACK}", f"service/{name}", pair]
            processes[name] = subprocess.Popen(  # noqa: S603  (kubectl of the user)
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        deadline = time.monotonic() + OPEN_TIMEOUT_S
        for name, process in processes.items():
            _wait_until_open(name, process, deadline)
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            _wait_for_end(process)


def _wait_until_open(name: str, process: subprocess.Popen[bytes], deadline: float) -> None:
    while not accepts_connections(local_port(name)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"the port of {name} could not be forwarded: see above")
        time.sleep(POLL_INTERVAL_S)


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def accepts_connections(port: int) -> bool:
    """Return whether something listens on ``port`` of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
