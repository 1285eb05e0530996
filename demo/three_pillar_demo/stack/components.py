"""The components of each mode.

``docker-compose.yaml`` lists the components of the full mode as well. A test compares both lists.
"""

import os
import sys
from dataclasses import replace

from three_pillar_demo.paths import STATE, absolute_path
from three_pillar_demo.stack import ports, state
from three_pillar_demo.stack.binaries import ALERTMANAGER, OTELCOL, PROMETHEUS
from three_pillar_demo.stack.cluster import collectors, thanos
from three_pillar_demo.stack.cluster.engines import LOKI_CLUSTER, TEMPO_CLUSTER
from three_pillar_demo.stack.cluster.storage import BROKER, OBJECT_STORE
from three_pillar_demo.stack.cluster.storage import CONFIG as CLUSTER_CONFIG
from three_pillar_demo.stack.cluster.thanos import THANOS_CLUSTER
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.external_binary import LOKI, TEMPO
from three_pillar_demo.stack.native_config import CONFIG

SERVICES: tuple[Component, ...] = (
    Component(
        "payment",
        (sys.executable, "-m", "services.payment"),
        (ports.PAYMENT,),
        "/healthz",
        stop_order=2,
    ),
    Component(
        "checkout",
        (sys.executable, "-m", "services.checkout"),
        (ports.CHECKOUT,),
        "/healthz",
        stop_order=1,
    ),
)
"""The demo's services, which send telemetry. The modes ``local`` and ``full`` run them."""

WEB = Component(
    "web",
    (sys.executable, "-m", "three_pillar_demo.web"),
    (ports.WEB,),
    "/healthz",
    stop_order=0,
    grace_seconds=5.0,
)
"""The web UI, which stops first, because it sends purchases to the services."""

STORE = Component(
    "store",
    (sys.executable, "-m", "three_pillar_demo.local_store"),
    (ports.STORE, ports.STORE_GRPC),
    "/healthz",
    stop_order=3,
)
"""The local store, which writes all telemetry into one SQLite file."""

LOCAL: tuple[Component, ...] = (*SERVICES, STORE, WEB)
"""The components of the mode ``local``, which needs only Python."""

VIEW: tuple[Component, ...] = (STORE, WEB)
"""The components of the mode ``view``, for the telemetry of other programs; it has no shop."""

COLLECTOR = Component(
    "otel-collector",
    ("--config=otel-collector.yaml",),
    (
        ports.COLLECTOR,
        ports.COLLECTOR_GRPC,
        ports.COLLECTOR_HEALTH,
        ports.COLLECTOR_METRICS,
    ),
    "/",
    stop_order=3,
    binary=OTELCOL,
    ready_port=ports.COLLECTOR_HEALTH,
)
"""The OpenTelemetry Collector, whose queues on disk are checked before each start."""

ALERTS = Component(
    "alertmanager",
    (
        f"--config.file={CONFIG / 'config' / 'alertmanager.yml'}",
        f"--storage.path={STATE / 'data' / 'alertmanager'}",
        "--web.listen-address=${BIND_ADDRESS}:${ALERTMANAGER_PORT}",
        # No cluster: a single Alertmanager would otherwise listen for peers on 0.0.0.0:9094.
        "--cluster.listen-address=",
    ),
    (ports.ALERTMANAGER,),
    "/-/ready",
    stop_order=5,  # After Prometheus, which still delivers alerts while it stops.
    binary=ALERTMANAGER,
)
"""Alertmanager, which sends alerts to the web UI."""

FULL: tuple[Component, ...] = (
    # Services and Collector come first: checkouts work at once, and the Collector's queue holds the
    # telemetry that a backend which is still starting cannot accept yet.
    *SERVICES,
    WEB,
    COLLECTOR,
    Component(
        "prometheus",
        (
            f"--config.file={CONFIG / 'prometheus.yml'}",
            f"--storage.tsdb.path={STATE / 'data' / 'prometheus'}",
            "--web.listen-address=${BIND_ADDRESS}:${PROMETHEUS_PORT}",
            "--web.enable-otlp-receiver",
            "--web.enable-remote-write-receiver",
            "--enable-feature=exemplar-storage",
        ),
        (ports.PROMETHEUS,),
        "/-/ready",
        stop_order=4,
        binary=PROMETHEUS,
    ),
    ALERTS,
    Component(
        "tempo",
        ("-config.file=config/tempo.yaml", "-config.expand-env=true"),
        (ports.TEMPO, ports.TEMPO_GRPC, ports.TEMPO_OTLP),
        "/ready",
        stop_order=4,
        binary=TEMPO,
        # It flushes its data within 0.1 s of SIGTERM. Once it has answered a query, it then does
        # not exit (observed for 52 s).
        grace_seconds=3.0,
    ),
    Component(
        "loki",
        ("-config.file=config/loki.yaml", "-config.expand-env=true"),
        (ports.LOKI, ports.LOKI_GRPC),
        "/ready",
        stop_order=4,
        binary=LOKI,
    ),
)
"""The components of the mode ``full``: the Collector and the real backends.

The Collector and the backends use the same configuration files as in docker-compose.yaml.
"""

GRAFANA_HOME = absolute_path(os.environ.get("GRAFANA_HOME", ""))
"""The folder of the user's own Grafana, from the environment variable ``GRAFANA_HOME``; or "".

If it is set, the modes ``full`` and ``cluster`` run Grafana as well. This project does not install
Grafana, which is under the AGPL.
"""

GRAFANA: tuple[Component, ...] = ()
"""Grafana, if the user has one."""

if GRAFANA_HOME:
    GRAFANA = (
        Component(
            "grafana",
            (
                f"{GRAFANA_HOME}/bin/grafana",
                "server",
                f"--homepath={GRAFANA_HOME}",
                "--config=grafana/grafana.ini",
            ),
            (ports.GRAFANA,),
            "/api/health",
            stop_order=4,
        ),
    )
    FULL += GRAFANA

CLUSTER_SERVICES = tuple(
    replace(
        service,
        start_order=3,
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": (
                f"http://127.0.0.1:${{{collectors.AGENT_OF_SERVICE[service.name].ports[0].variable}}}"
            )
        },
    )
    for service in SERVICES
)
"""The services of the modes ``cluster``, two processes of each behind one port."""

ALERTS_OF_CLUSTER = (thanos.RULES, replace(ALERTS, stop_order=6))
"""What evaluates the alert rules, and what sends the alerts. Rules stop before Alertmanager."""

CLUSTER: tuple[Component, ...] = (
    OBJECT_STORE,
    BROKER,
    *TEMPO_CLUSTER,
    *LOKI_CLUSTER,
    *THANOS_CLUSTER,
    *ALERTS_OF_CLUSTER,
    *collectors.gateways(),
    *collectors.AGENTS,
    *CLUSTER_SERVICES,
    replace(WEB, start_order=3),
    *GRAFANA,
)
"""The mode ``cluster``: two tiers of Collectors, and the engines' own clusters."""

CLUSTER_LOCAL_STORE: tuple[Component, ...] = (
    OBJECT_STORE,
    replace(STORE, ports=(ports.CLUSTER_STORE, ports.CLUSTER_STORE_GRPC), stop_order=5),
    *THANOS_CLUSTER,
    *ALERTS_OF_CLUSTER,
    *collectors.gateways(
        str(CLUSTER_CONFIG / "gateway-local-store.yaml"),
    ),
    *collectors.AGENTS,
    *CLUSTER_SERVICES,
    replace(WEB, start_order=3),
)
"""The mode ``cluster`` without Tempo and Loki: the local store has traces and log records.

Kafka, which only Tempo reads, is not there.
"""

DEFAULT = state.LOCAL_MODE
ONE_MACHINE = {state.LOCAL_MODE: LOCAL, state.FULL_MODE: FULL, state.VIEW_MODE: VIEW}
"""The components of the modes that have one process of each kind."""
MODES = ONE_MACHINE | {
    state.CLUSTER_MODE: CLUSTER,
    state.CLUSTER_LOCAL_STORE_MODE: CLUSTER_LOCAL_STORE,
}
"""The components of each mode, by the name of the mode.

``demo up`` runs the mode ``local``, ``demo up --full`` the mode ``full``, ``demo view`` the mode
``view``, and ``demo up --cluster`` one of the modes ``cluster``. ``run.json`` contains the name of
the mode.
"""

# Of the components that differ between the modes, this has those of one machine.
BY_NAME = {
    component.name: component for components in reversed(MODES.values()) for component in components
}
"""Every component, by its name."""
