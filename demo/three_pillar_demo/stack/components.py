"""The components of each mode: command, binary, ports, readiness check and stop order.

``docker-compose.yaml`` lists the components of the full mode as well. A test compares both lists.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack.binaries import ALERTMANAGER, OTELCOL, PROMETHEUS, Binary
from three_pillar_demo.stack.external_binary import LOKI, TEMPO, ExternalBinary

LOOPBACK = "127.0.0.1"
STATE = Path(os.environ.get("DEMO_STATE") or ROOT / ".demo")
"""The folder that contains all files of a run: data, logs and the launcher's state.

``make clean`` removes it.
"""


@dataclass(frozen=True)
class Component:
    """One process of the stack.

    Attributes:
        name: The name of the component. The compose service has the same name.
        command: The command line. If ``binary`` is set, only the arguments of the binary.
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
    ports: tuple[int, ...]
    ready_path: str
    stop_order: int
    binary: Binary | ExternalBinary | None = None
    ready_port: int | None = None
    grace_seconds: float = 10.0
    ready_timeout_seconds: float = 60.0

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
        return f"http://{LOOPBACK}:{self.ports[0]}"

    @property
    def ready_url(self) -> str:
        """The URL of the readiness check, which answers 200 once the component works."""
        return f"http://{LOOPBACK}:{self.ready_port or self.ports[0]}{self.ready_path}"


SERVICES: tuple[Component, ...] = (
    Component(
        "payment", (sys.executable, "-m", "services.payment"), (8001,), "/healthz", stop_order=2
    ),
    Component(
        "checkout", (sys.executable, "-m", "services.checkout"), (8000,), "/healthz", stop_order=1
    ),
)
"""The demo's services, which send telemetry. The modes ``local`` and ``full`` run them."""

WEB = Component(
    "web",
    (sys.executable, "-m", "three_pillar_demo.web"),
    (8080,),
    "/healthz",
    stop_order=0,
    grace_seconds=5.0,
)
"""The web UI, which stops first, because it sends purchases to the services."""

LOCAL: tuple[Component, ...] = (
    *SERVICES,
    Component(
        "store",
        (sys.executable, "-m", "three_pillar_demo.local_store"),
        (4318,),
        "/healthz",
        stop_order=3,
    ),
    WEB,
)
"""The components of the mode ``local``, which needs only Python.

The local store writes all telemetry into one SQLite file.
"""

FULL: tuple[Component, ...] = (
    # Services and Collector come first: checkouts work at once, and the Collector's queue holds the
    # telemetry that a backend which is still starting cannot accept yet.
    *SERVICES,
    WEB,
    Component(
        "otel-collector",
        ("--config=otel-collector.yaml",),
        (4318, 4317, 13133, 8888),
        "/",
        stop_order=3,
        binary=OTELCOL,
        ready_port=13133,
    ),
    Component(
        "prometheus",
        (
            "--config.file=prometheus.yml",
            f"--storage.tsdb.path={STATE / 'data' / 'prometheus'}",
            f"--web.listen-address={LOOPBACK}:9090",
            "--web.enable-otlp-receiver",
            "--web.enable-remote-write-receiver",
            "--enable-feature=exemplar-storage",
        ),
        (9090,),
        "/-/ready",
        stop_order=4,
        binary=PROMETHEUS,
    ),
    Component(
        "alertmanager",
        (
            "--config.file=config/alertmanager.yml",
            f"--storage.path={STATE / 'data' / 'alertmanager'}",
            f"--web.listen-address={LOOPBACK}:9093",
            # No cluster: a single Alertmanager would otherwise listen for peers on 0.0.0.0:9094.
            "--cluster.listen-address=",
        ),
        (9093,),
        "/-/ready",
        stop_order=5,  # After Prometheus, which still delivers alerts while it stops.
        binary=ALERTMANAGER,
    ),
    Component(
        "tempo",
        ("-config.file=config/tempo.yaml", "-config.expand-env=true"),
        (3200, 9095, 4418),
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
        (3100, 9096),
        "/ready",
        stop_order=4,
        binary=LOKI,
    ),
)
"""The components of the mode ``full``: the Collector and the real backends.

The Collector and the backends use the same configuration files as in docker-compose.yaml.
"""

GRAFANA_HOME = os.environ.get("GRAFANA_HOME")
"""The folder of the user's own Grafana, from the environment variable ``GRAFANA_HOME``; or None.

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
            (3000,),
            "/api/health",
            stop_order=4,
        ),
    )

DEFAULT = "local"
MODES = {DEFAULT: LOCAL, "full": FULL}
"""The components of each mode, by the name of the mode.

``demo up`` runs the mode ``local``, and ``demo up --full`` runs the mode ``full``. ``run.json``
contains the name of the mode.
"""

BY_NAME = {component.name: component for components in MODES.values() for component in components}


def environment(component: Component) -> dict[str, str]:
    """Return the environment variables with which ``component`` runs.

    ``component`` inherits the variables of this process. Added variables put every component on
    loopback and its data folder below ``STATE``. Variables that begin with ``OTEL_`` are inherited
    only by the services.
    """
    variables = _addresses_and_folders()
    if component.name == "grafana":
        variables |= {
            "GF_PATHS_DATA": str(component.data),
            "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
            "GRAFANA_DASHBOARDS": str(ROOT / "grafana" / "dashboards"),
        }
    if component in SERVICES:
        return {**os.environ, **variables, **_service_settings(component)}
    # Tempo and Loki read OTEL_* variables and would trace themselves, into the Collector. The local
    # store is a receiver and exports nothing.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return inherited | variables


def _addresses_and_folders() -> dict[str, str]:
    variables = {"BIND_ADDRESS": LOOPBACK, "PYTHONUNBUFFERED": "1"}
    for component in BY_NAME.values():
        prefix = component.name.upper().replace("-", "_")
        variables[f"{prefix}_HOST"] = LOOPBACK
        variables[f"{prefix}_DATA"] = str(component.data)
    return variables


def _service_settings(service: Component) -> dict[str, str]:
    # This endpoint replaces one from the caller's environment: telemetry of the demo never leaves
    # the demo.
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:4318"}
    prefix = service.name.upper()
    bind_address = os.environ.get(f"{prefix}_BIND") or LOOPBACK
    if bind_address == LOOPBACK:  # On any other address the service would refuse this setting.
        settings[f"{prefix}_DRILLS"] = str(STATE / "drill" / f"{service.name}.fault")
    return settings
