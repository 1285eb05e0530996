"""What runs in which mode, from which binary, where it listens, when it is ready, in which order it stops.

docker-compose.yaml is the full mode's other list; a test compares the two.
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
"""Everything a run leaves behind: data, logs, the state of the launcher. ``make clean`` removes it."""


@dataclass(frozen=True)
class Component:
    """One process of the house.

    Attributes:
        name: Its name, in compose too.
        command: Arguments; the binary, if there is one, goes before them.
        ports: All it listens on; the first is the one a person opens.
        ready: The path on the first port, or on ``ready_port``, that answers 200 once it works.
        stop_order: Lower stops first, along the data's way; equal ones stop together.
        grace: Seconds between SIGTERM and SIGKILL.
        ready_seconds: What it may take to become ready; who needs longer hangs.
    """

    name: str
    command: tuple[str, ...]
    ports: tuple[int, ...]
    ready: str
    stop_order: int
    binary: Binary | ExternalBinary | None = None
    ready_port: int | None = None
    grace: float = 10.0
    ready_seconds: float = 60.0

    @property
    def data(self) -> Path:
        """Where it keeps what must survive a restart."""
        return STATE / "data" / self.name

    @property
    def log(self) -> Path:
        """What it writes to stdout and stderr."""
        return STATE / "logs" / f"{self.name}.log"

    @property
    def address(self) -> str:
        """What a person opens."""
        return f"http://{LOOPBACK}:{self.ports[0]}"

    @property
    def ready_url(self) -> str:
        """What answers 200 once it works."""
        return f"http://{LOOPBACK}:{self.ready_port or self.ports[0]}{self.ready}"


SERVICES: tuple[Component, ...] = (
    Component(
        "payment", (sys.executable, "-m", "services.payment"), (8001,), "/healthz", stop_order=2
    ),
    Component(
        "checkout", (sys.executable, "-m", "services.checkout"), (8000,), "/healthz", stop_order=1
    ),
)
"""Those that send telemetry."""

WEB = Component(
    "web",
    (sys.executable, "-m", "three_pillar_demo.web"),
    (8080,),
    "/healthz",
    stop_order=0,
    grace=5.0,
)
"""The page. It stops first: its stream of customers ends before the shop closes."""

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
"""Python alone: what the services send goes into one file."""

FULL: tuple[Component, ...] = (
    # Services and Collector first: customers are served at once, and the Collector's queue holds what a backend
    # that is still being built cannot take yet.
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
            "--cluster.listen-address=",  # one of its kind: it would look for others on 0.0.0.0:9094
        ),
        (9093,),
        "/-/ready",
        stop_order=5,  # Prometheus hands over what it has still to say
        binary=ALERTMANAGER,
    ),
    Component(
        "tempo",
        ("-config.file=config/tempo.yaml", "-config.expand-env=true"),
        (3200, 9095, 4418),
        "/ready",
        stop_order=4,
        binary=TEMPO,
        grace=3.0,  # it writes what it holds in 0.1 s; once it has answered a query it then stays for ever (seen for 52 s)
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
"""The Collector and the real backends, from the config files that compose uses."""

GRAFANA_HOME = os.environ.get("GRAFANA_HOME")
"""Grafana is brought by a person too; where there is one, it runs with the rest, with the same provisioning as in compose."""

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
"""What runs by the name of its mode, as run.json and the command's options have it."""

BY_NAME = {component.name: component for components in MODES.values() for component in components}


def environment(component: Component) -> dict[str, str]:
    """What ``component`` finds in its environment: the caller's, with every peer and every listener on loopback."""
    names = {each.name.upper().replace("-", "_"): each for each in BY_NAME.values()}
    ours = {
        **{f"{name}_HOST": LOOPBACK for name in names},
        **{f"{name}_DATA": str(each.data) for name, each in names.items()},
        "BIND_ADDRESS": LOOPBACK,
        "PYTHONUNBUFFERED": "1",
    }
    if component.name == "grafana":
        ours |= {
            "GF_PATHS_DATA": str(component.data),
            "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
            "GRAFANA_DASHBOARDS": str(ROOT / "grafana" / "dashboards"),
        }
    if component not in SERVICES:
        # Tempo and Loki would take these as an order to trace themselves, into the Collector; embedded is where they lead.
        return {
            name: value for name, value in os.environ.items() if not name.startswith("OTEL_")
        } | ours
    prefix = component.name.upper()
    if (
        os.environ.get(f"{prefix}_BIND") or LOOPBACK
    ) == LOOPBACK:  # elsewhere the service would refuse it
        ours[f"{prefix}_DRILLS"] = str(STATE / "drill" / f"{component.name}.fault")
    # Even where the machine's own environment names a Collector: what happens in this house stays in it.
    return {**os.environ, **ours, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:4318"}
