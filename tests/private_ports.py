"""Gives each test process ports and a state folder of its own, so that it meets no running stack.

``reserve`` gives the components of the demo their ports, and ``free_port`` every other process that
a test starts. ``reserve`` must be called before the demo is imported, because the state folder is
read then. Every process that a test starts inherits the variables.
"""

import atexit
import fcntl
import itertools
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import IO

FIRST_PORT = 30_000
"""The first port of the first block.

The blocks are below the range that systems use for outgoing connections (from 32,768 on Linux), so
no connection can take the port of a component that is restarted.
"""
BLOCK_SIZE = 20
BLOCKS = 130
LOCKS = Path(tempfile.gettempdir()) / "three-pillar-demo-test-ports"
VARIABLES = (
    "CHECKOUT_PORT",
    "PAYMENT_PORT",
    "WEB_PORT",
    "STORE_PORT",
    "STORE_GRPC_PORT",
    "OTEL_COLLECTOR_PORT",
    "OTEL_COLLECTOR_GRPC_PORT",
    "OTEL_COLLECTOR_HEALTH_PORT",
    "OTEL_COLLECTOR_METRICS_PORT",
    "PROMETHEUS_PORT",
    "ALERTMANAGER_PORT",
    "TEMPO_PORT",
    "TEMPO_GRPC_PORT",
    "TEMPO_OTLP_PORT",
    "LOKI_PORT",
    "LOKI_GRPC_PORT",
    "GRAFANA_PORT",
)

FIRST_FREE_PORT = 10_000
FREE_PORTS = 20_000
"""The number of ports from ``FIRST_FREE_PORT`` on that ``free_port`` chooses from."""
SHARES = 40
"""The number of processes that can use ``free_port`` at once, each with ports of its own."""

_held_locks: list[IO[str]] = []
_shares: list[int] = []
_next_offset = itertools.count()


def reserve() -> None:
    """Set the variables of all ports, and ``DEMO_STATE``, for this process and its children.

    A file lock reserves the ports until this process ends; then the folder is removed.
    """
    for block in range(BLOCKS):
        ports = range(FIRST_PORT + block * BLOCK_SIZE, FIRST_PORT + (block + 1) * BLOCK_SIZE)
        if _lock(LOCKS / str(block)) and all(_is_free(port) for port in ports):
            os.environ.update(
                {name: str(port) for name, port in zip(VARIABLES, ports, strict=False)}
            )
            state = tempfile.mkdtemp(prefix="three-pillar-demo-test-")
            os.environ["DEMO_STATE"] = state
            atexit.register(shutil.rmtree, state, ignore_errors=True)
            return
    raise RuntimeError(f"no free block of ports from {FIRST_PORT} on; are tests still running?")


def free_port() -> int:
    """Return the number of a loopback port on which nothing listens.

    Other test processes get other numbers, and no outgoing connection gets it, as it could get a
    port that the kernel has chosen. A number returns after some hundred calls.
    """
    share = FREE_PORTS // SHARES
    first = FIRST_FREE_PORT + _own_share() * share
    for _ in range(share):
        port = first + next(_next_offset) % share
        if _is_free(port):
            return port
    raise RuntimeError(f"no free port from {first} on")


def _own_share() -> int:
    """Return which share of the ports this process has; a file lock reserves it until its end."""
    if not _shares:
        free = (share for share in range(SHARES) if _lock(LOCKS / f"share-{share}"))
        share = next(free, None)
        if share is None:
            raise RuntimeError(f"{SHARES} test processes use free ports already")
        _shares.append(share)
    return _shares[0]


def _lock(path: Path) -> bool:
    LOCKS.mkdir(exist_ok=True)
    # The file stays open, and with it the lock, until the process ends.
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held_locks.append(file)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
