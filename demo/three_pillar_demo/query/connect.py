"""Who answers questions about what the services told: the backends of the stack that runs."""

import os
import socket

from three_pillar_demo.query.interface import Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import LOOPBACK, STATE

FILE = STATE / "data" / "store" / "telemetry.db"
TEMPO = 3200


def mode() -> str:
    """What runs: ``embedded``, ``full`` or ``compose``; embedded where nothing does.

    Compose's stack leaves no note here: in its containers ``TEMPO_HOST`` is set, on the host its ports answer.
    """
    return state.mode() or (
        "compose" if os.environ.get("TEMPO_HOST") or _listens(TEMPO) else "local"
    )


def backends() -> Backends:
    """The embedded store, or Tempo, Loki and Prometheus: as the stack that runs here was started."""
    return LocalBackends(FILE) if mode() == "local" else LgtmBackends()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0
