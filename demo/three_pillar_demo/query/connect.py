"""Finds the mode of the running stack, and creates the query backends for it."""

import os
import socket
from collections.abc import Mapping

from three_pillar_demo.paths import STATE
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack import ports, state
from three_pillar_demo.stack.ports import LOOPBACK

LOCAL_STORE_FILE = STATE / "data" / "store" / "telemetry.db"
IN_KUBERNETES = "KUBERNETES_SERVICE_HOST"
"""The environment variable that Kubernetes sets in every container, whatever its manifest says."""
SAMPLED_PERCENTAGE = "TAIL_SAMPLING_PERCENTAGE"
ALL_TRACES = 100.0
PROBE_TIMEOUT_S = 1.0


def running_mode() -> str:
    """Return the mode of the running stack: one of ``state.MODES``, ``compose``, ``kubernetes``.

    The launcher records its mode in a file. Docker Compose and Kubernetes record no mode, so both
    are recognised by Tempo. The result is ``local`` if nothing is running.
    """
    recorded_mode = state.mode()
    if recorded_mode:
        return recorded_mode
    # Containers have TEMPO_HOST set; on the host, Tempo's port accepts connections.
    if os.environ.get("TEMPO_HOST") and os.environ.get(IN_KUBERNETES):
        return "kubernetes"
    is_compose = os.environ.get("TEMPO_HOST") or _accepts_connections(ports.TEMPO.number)
    return "compose" if is_compose else "local"


def create_backends() -> Backends:
    """Return the backends of the running mode: the local store, or Tempo, Loki and Prometheus."""
    if running_mode() in state.LOCAL_QUERY_MODES:
        return LocalBackends(LOCAL_STORE_FILE)
    return LgtmBackends()


def samples_traces() -> bool:
    """Return whether the running stack keeps only some of the traces.

    The launcher records its rule. On Kubernetes the variables of the web UI are those of the
    gateways.
    """
    run = state.running()
    variables: Mapping[str, str] = run.tail_sampling if run else os.environ
    percentage = variables.get(SAMPLED_PERCENTAGE, "").strip()
    return bool(percentage) and float(percentage) < ALL_TRACES


def _accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        return probe.connect_ex((LOOPBACK, port)) == 0
