"""The components of each mode: command, binary, ports, readiness check and stop order.

``docker-compose.yaml`` lists the components of the full mode as well. A test compares both lists.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from three_pillar_demo.paths import STATE, absolute_path
from three_pillar_demo.stack import ports, state
from three_pillar_demo.stack.binaries import ALERTMANAGER, OTELCOL, PROMETHEUS, Binary
from three_pillar_demo.stack.external_binary import LOKI, TEMPO, ExternalBinary
from three_pillar_demo.stack.native_config import CONFIG
from three_pillar_demo.stack.ports import Port


@dataclass(frozen=True)
class Component:
    """One process of the stack.

    Attributes:
        name: The name of the component. The compose service has the same name.
        command: The command line. If ``binary`` is set, only the arguments of the binary. A
            ``${NAME}`` stands for the environment variable of the component's process.
        ports: All ports on which the component listens. The first port is in the address shown to
            the user.
        ready_path: The HTTP path that answers 200 once the component works.
        stop_order: The position when the stack stops, lowest first. Data flows from lower to higher
            positions. Components with the same number stop together.
        binary: The executable; None if ``command`` begins with an executable.
        ready_port: The port of ``ready_path``; None stands for the first of ``ports``.
        grace_seconds: How long the component may take to end after SIGTERM, before SIGKILL.
        ready_timeout_seconds: How long the component may take from its start until it is ready.
    """

    name: str
    command: tuple[str, ...]
    ports: tuple[Port, ...]
    ready_path: str
    stop_order: int
    binary: Binary | ExternalBinary | None = None
    ready_port: Port | None = None
    grace_seconds: float = 10.0
    ready_timeout_seconds: float = 60.0

    @property
    def variable_prefix(self) -> str:
        """The prefix of the environment variables that concern the component."""
        return self.name.upper().replace("-", "_")

    @property
    def data(self) -> Path:
        """The folder of the component's data, which is kept across restarts."""
        return STATE / "data" / self.name

    @property
    def log(self) -> Path:
        """The log file, to which stdout and stderr of the component are appended."""
        return STATE / "logs" / f"{self.name}.log"

    @property
    def address(self) -> str:
        """The URL of the component that is shown to the user, on its first port."""
        return self.ports[0].url

    @property
    def ready_url(self) -> str:
        """The URL of the readiness check, which answers 200 once the component works."""
        return f"{(self.ready_port or self.ports[0]).url}{self.ready_path}"


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
    Component(
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
    ),
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

If it is set, the mode ``full`` runs Grafana as well. This project does not install Grafana, which
is under the AGPL.
"""

if GRAFANA_HOME:
    FULL += (
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

DEFAULT = state.LOCAL_MODE
MODES = {state.LOCAL_MODE: LOCAL, state.FULL_MODE: FULL, state.VIEW_MODE: VIEW}
"""The components of each mode, by the name of the mode.

``demo up`` runs the mode ``local``, ``demo up --full`` the mode ``full``, and ``demo view`` the
mode ``view``. ``run.json`` contains the name of the mode.
"""

BY_NAME = {component.name: component for components in MODES.values() for component in components}
