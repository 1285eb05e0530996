"""The two tiers of Collectors, and the services before them.

The checkouts send to the first agent and the payments to the second, as if each service had a
machine of its own with an agent on it. So the spans of a trace come from both agents, which send
them to one and the same gateway.
"""

from collections.abc import Iterable, Mapping

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack import ports
from three_pillar_demo.stack.binaries import OTELCOL
from three_pillar_demo.stack.cluster.storage import CONFIG
from three_pillar_demo.stack.cluster.thanos import RECEIVE_WRITE
from three_pillar_demo.stack.component import Component, variable_prefix
from three_pillar_demo.stack.ports import Port

SHARED_FILE = ROOT / "otel-collector.yaml"
TIER_FILES = ROOT / "deploy" / "collector"


def _collector(
    name: str,
    files: Iterable[str],
    listening: tuple[Port, Port, Port, Port],
    stop_order: int,
    **more: str,
) -> Component:
    """Return a Collector with ``files``, which are merged in their order.

    ``listening`` are the ports for OTLP over HTTP and over gRPC, for the health check, and for its
    own metrics.
    """
    http, grpc, health, metrics = listening
    return Component(
        name,
        tuple(f"--config={file}" for file in files),
        listening,
        "/",
        stop_order=stop_order,
        binary=OTELCOL,
        ready_port=health,
        start_order=2,
        environment={
            "OTEL_COLLECTOR_PORT": f"${{{http.variable}}}",
            "OTEL_COLLECTOR_GRPC_PORT": f"${{{grpc.variable}}}",
            "OTEL_COLLECTOR_HEALTH_PORT": f"${{{health.variable}}}",
            "OTEL_COLLECTOR_METRICS_PORT": f"${{{metrics.variable}}}",
            "OTEL_COLLECTOR_DATA": f"${{{variable_prefix(name)}_DATA}}",
            **more,
        },
    )


def _own_ports(name: str, number: int) -> tuple[Port, Port, Port, Port]:
    prefix = variable_prefix(name)
    return (
        Port(f"{prefix}_PORT", 14318 + 10 * number),
        Port(f"{prefix}_GRPC_PORT", 14317 + 10 * number),
        Port(f"{prefix}_HEALTH_PORT", 13134 + number),
        Port(f"{prefix}_METRICS_PORT", 8889 + number),
    )


def gateways(*more_files: str, **more: str) -> tuple[Component, Component]:
    """Return both gateways; ``more_files`` are merged over their files, ``more`` are variables."""
    files = (
        str(SHARED_FILE),
        str(TIER_FILES / "gateway.yaml"),
        str(CONFIG / "gateway.yaml"),
        *more_files,
    )
    first, second = (
        _collector(
            name,
            files,
            _own_ports(name, number),
            4,
            # Each writes to other processes than the one that answers questions.
            PROMETHEUS_PORT=f"${{{RECEIVE_WRITE[number].variable}}}",
            LOKI_PORT=f"${{LOKI_{number + 1}_PORT}}",
            **more,
        )
        for number, name in enumerate(("otel-gateway-0", "otel-gateway-1"))
    )
    return first, second


def _agent(name: str, number: int, listening: tuple[Port, Port, Port, Port]) -> Component:
    files = (SHARED_FILE, TIER_FILES / "agent.yaml", CONFIG / "agent.yaml")
    more: Mapping[str, str] = {"PROMETHEUS_PORT": f"${{{RECEIVE_WRITE[number].variable}}}"}
    return _collector(name, map(str, files), listening, 3, **more)


AGENTS = (
    # Programs of the user find the first one on the port of a single Collector.
    _agent(
        "otel-agent-0",
        0,
        (
            ports.COLLECTOR,
            ports.COLLECTOR_GRPC,
            ports.COLLECTOR_HEALTH,
            ports.COLLECTOR_METRICS,
        ),
    ),
    _agent("otel-agent-1", 1, _own_ports("otel-agent-1", 2)),
)
"""The Collectors to which the services send."""
AGENT_OF_SERVICE = {"checkout": AGENTS[0], "payment": AGENTS[1]}
