"""Chooses between the two modes ``cluster``: with Tempo and Loki, or with the local store."""

from three_pillar_demo.stack import state
from three_pillar_demo.stack.external_binary import LOKI, TEMPO

NO_ENGINES = (
    "Tempo and Loki are not both on PATH: the local store has traces and log records in their "
    "place, behind the gateways; metrics are in Thanos too"
)


def choose() -> str:
    """Return the mode of ``demo up --cluster`` for the executables on PATH."""
    if TEMPO.path and LOKI.path:
        return state.CLUSTER_MODE
    return state.CLUSTER_LOCAL_STORE_MODE
