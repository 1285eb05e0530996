"""The clusters of Tempo and Loki.

The processes of one of them share a configuration file in ``deploy/cluster/``. They differ by their
name, by their ports and by their folder.
"""

from collections.abc import Mapping

from three_pillar_demo.stack import ports
from three_pillar_demo.stack.cluster.storage import ACCESS_KEY, CONFIG, SECRET_KEY
from three_pillar_demo.stack.component import Component, variable_prefix
from three_pillar_demo.stack.external_binary import LOKI, TEMPO
from three_pillar_demo.stack.ports import Port

STORAGE_KEYS = {"OBJECT_STORE_ACCESS_KEY": ACCESS_KEY, "OBJECT_STORE_SECRET_KEY": SECRET_KEY}
TEMPO_MEMORY = "512MiB"
"""The memory above which the Go runtime of a Tempo process collects garbage more often.

Without it the querier grew to 1.5 GiB.
"""
REPLICAS = 3
"""The number of Lokis: each record is on all three of them.

A record is acknowledged once two have it, so one of them may be away.
"""


def _instance(name: str, http: Port, grpc: Port, gossip: Port, **more: str) -> Mapping[str, str]:
    """Return the variables by which the processes of one configuration file differ."""
    return {
        "INSTANCE": name,
        "HTTP_PORT": f"${{{http.variable}}}",
        "GRPC_PORT": f"${{{grpc.variable}}}",
        "GOSSIP_PORT": f"${{{gossip.variable}}}",
        "DATA": f"${{{variable_prefix(name)}_DATA}}",
        **STORAGE_KEYS,
        **more,
    }


def _tempo(target: str, number: int, *, suffix: str = "", **more: str) -> Component:
    """Return one process of Tempo; ``number`` sets its ports apart from those of the others."""
    name = f"tempo-{target}{suffix}"
    prefix = variable_prefix(name)
    http = Port(f"{prefix}_PORT", 3201 + number)
    grpc = Port(f"{prefix}_GRPC_PORT", 9501 + number)
    gossip = Port(f"{prefix}_GOSSIP_PORT", 7946 + number)
    listening: tuple[Port, ...] = (http, grpc, gossip)
    if target == "query-frontend":  # All questions go to it, as to a single Tempo.
        http = ports.TEMPO
        grpc = ports.TEMPO_GRPC
        listening = (http, grpc, gossip)
    if target == "distributor":
        listening = (*listening, ports.TEMPO_OTLP)
    return Component(
        name,
        (f"-target={target}", f"-config.file={CONFIG / 'tempo.yaml'}", "-config.expand-env=true"),
        listening,
        "/ready",
        stop_order=5,
        binary=TEMPO,
        grace_seconds=5.0,
        ready_timeout_seconds=120.0,
        start_order=1,
        environment=_instance(name, http, grpc, gossip, GOMEMLIMIT=TEMPO_MEMORY, **more),
    )


TEMPO_CLUSTER = (
    # A partition of Kafka has a live-store in each of two zones.
    _tempo("live-store", 0, suffix="-a-0", ZONE="a"),
    _tempo("live-store", 1, suffix="-a-1", ZONE="a"),
    _tempo("live-store", 2, suffix="-b-0", ZONE="b"),
    _tempo("live-store", 3, suffix="-b-1", ZONE="b"),
    _tempo("block-builder", 4, suffix="-0"),
    _tempo("block-builder", 5, suffix="-1"),
    _tempo("distributor", 6),
    _tempo("query-frontend", 7),
    _tempo("querier", 8),
    _tempo("backend-scheduler", 9),
    _tempo("backend-worker", 10),
    _tempo("metrics-generator", 11, suffix="-0"),
)
"""Tempo as microservices: the spans of a partition survive the loss of any one process."""


def _loki(number: int) -> Component:
    name = f"loki-{number}"
    prefix = variable_prefix(name)
    http = Port(f"{prefix}_PORT", 3100 + number) if number else ports.LOKI
    grpc = Port(f"{prefix}_GRPC_PORT", 9601 + number) if number else ports.LOKI_GRPC
    gossip = Port(f"{prefix}_GOSSIP_PORT", 7846 + number)
    return Component(
        name,
        (
            "-target=all",
            f"-config.file={CONFIG / 'loki.yaml'}",
            "-config.expand-env=true",
        ),
        (http, grpc, gossip),
        "/ready",
        stop_order=5,
        binary=LOKI,
        ready_timeout_seconds=120.0,
        start_order=1,
        environment=_instance(name, http, grpc, gossip),
    )


LOKI_CLUSTER = tuple(_loki(number) for number in range(REPLICAS))
"""Three equal Lokis. Questions go to the first, and gateways write to the others."""
