"""The ports of all components: their environment variables, defaults and actual numbers.

The number of a port is the value of its environment variable. Without one, it is the number that
the running launcher has recorded, and without a launcher the default. A launcher starts every
process with all variables set, so only commands in another terminal read the record.
"""

import os
from dataclasses import dataclass

from three_pillar_demo.stack import state

LOOPBACK = "127.0.0.1"
HIGHEST_PORT = 65535
MAX_DIGITS = 10
"""The number of digits, with leading zeros, of the value of a variable."""


class PortError(Exception):
    """A port cannot be used; the message names its environment variable and the reason."""


@dataclass(frozen=True)
class Port:
    """A port on which a component listens.

    Attributes:
        variable: The environment variable that sets the number.
        default: The number where the variable is not set and the default is free.
        former_variable: The former name of the variable, which is accepted for one release; or
            empty.
    """

    variable: str
    default: int
    former_variable: str = ""

    def setting(self) -> int | None:
        """Return the number that the environment sets, or None if it sets none.

        Raises:
            PortError: The value is not a number from 1 to 65535.
        """
        for name in (self.variable, self.former_variable):
            value = os.environ.get(name, "").strip()
            if value:
                return _parse(name, value)
        return None

    @property
    def number(self) -> int:
        """The actual number of the port: of the environment, of the running stack, or the default.

        Raises:
            PortError: The environment variable is not a number from 1 to 65535.
        """
        setting = self.setting()
        if setting is not None:
            return setting
        run = state.running()
        recorded = run.ports.get(self.variable) if run else None
        return recorded or self.default

    @property
    def url(self) -> str:
        """The URL of the component on loopback, ``http://127.0.0.1:`` and the number.

        Raises:
            PortError: The environment variable is not a number from 1 to 65535.
        """
        return f"http://{LOOPBACK}:{self.number}"


def _parse(name: str, value: str) -> int:
    # Python refuses to read a number of over 4,300 digits.
    is_number = value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS
    if is_number and 1 <= int(value) <= HIGHEST_PORT:
        return int(value)
    raise PortError(f"{name}={ascii(value)[1:-1][:80]}: not a port number, 1 to {HIGHEST_PORT}")


CHECKOUT = Port("CHECKOUT_PORT", 8000)
PAYMENT = Port("PAYMENT_PORT", 8001)
WEB = Port("WEB_PORT", 8080, "CONSOLE_PORT")
STORE = Port("STORE_PORT", 4318, "EMBEDDED_PORT")
STORE_GRPC = Port("STORE_GRPC_PORT", 4317)
CLUSTER_STORE = Port("STORE_PORT", 4338)
CLUSTER_STORE_GRPC = Port("STORE_GRPC_PORT", 4337)
COLLECTOR = Port("OTEL_COLLECTOR_PORT", 4318)
COLLECTOR_GRPC = Port("OTEL_COLLECTOR_GRPC_PORT", 4317)
COLLECTOR_HEALTH = Port("OTEL_COLLECTOR_HEALTH_PORT", 13133)
COLLECTOR_METRICS = Port("OTEL_COLLECTOR_METRICS_PORT", 8888)
PROMETHEUS = Port("PROMETHEUS_PORT", 9090)
ALERTMANAGER = Port("ALERTMANAGER_PORT", 9093)
TEMPO = Port("TEMPO_PORT", 3200)
TEMPO_GRPC = Port("TEMPO_GRPC_PORT", 9095)
TEMPO_OTLP = Port("TEMPO_OTLP_PORT", 4418)
LOKI = Port("LOKI_PORT", 3100)
LOKI_GRPC = Port("LOKI_GRPC_PORT", 9096)
GRAFANA = Port("GRAFANA_PORT", 3000)

ALL = (
    CHECKOUT,
    PAYMENT,
    WEB,
    STORE,
    STORE_GRPC,
    COLLECTOR,
    COLLECTOR_GRPC,
    COLLECTOR_HEALTH,
    COLLECTOR_METRICS,
    PROMETHEUS,
    ALERTMANAGER,
    TEMPO,
    TEMPO_GRPC,
    TEMPO_OTLP,
    LOKI,
    LOKI_GRPC,
    GRAFANA,
)
"""Every port of the demo.

The store and the Collector never run together, so they have the same defaults. Only the modes
``cluster`` have further ports, and there the store has the defaults of ``CLUSTER_STORE``.
"""


def otlp_receivers(mode: str | None) -> tuple[Port, Port]:
    """Return the ports on which a stack of ``mode`` receives OTLP: over HTTP, and over gRPC.

    ``mode`` is a result of ``connect.running_mode``. None stands for the mode that would be
    started, which has the local store.
    """
    if mode is None or mode in state.LOCAL_STORE_MODES:
        return STORE, STORE_GRPC
    return COLLECTOR, COLLECTOR_GRPC


def validate() -> None:
    """Check the environment variables of all ports.

    Raises:
        PortError: A value is not a number from 1 to 65535.
    """
    for port in ALL:
        port.setting()
