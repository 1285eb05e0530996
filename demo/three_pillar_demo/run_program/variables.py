"""The ``OTEL_*`` environment variables that make a program send its telemetry to the demo."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GRPC = "grpc"
HTTP = "http/protobuf"
SIGNALS = ("TRACES", "METRICS", "LOGS")
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
SERVICE_NAME = "OTEL_SERVICE_NAME"
RESOURCE_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
NAMES_SERVICE = re.compile(r"(^|,)\s*service\.name\s*=")
"""Matches resource attributes that contain the name of the service."""
SDK_DISABLED = "OTEL_SDK_DISABLED"

SHORT_INTERVALS = {
    "OTEL_BSP_SCHEDULE_DELAY": "500",
    "OTEL_BLRP_SCHEDULE_DELAY": "500",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    # The SDK of Node.js refuses a time limit that is longer than the interval.
    "OTEL_METRIC_EXPORT_TIMEOUT": "1000",
}
"""How often telemetry is exported, in milliseconds.

The SDKs' own defaults are 5 s for spans, 1 to 5 s for log records and 60 s for metrics, too long
for a user who looks for a request just made.
"""
STABLE_CONVENTIONS = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
"""Chooses the stable HTTP conventions, whose metrics the demo's charts show.

Older instrumentations use them only when asked to.
"""
MAX_NAME_CHARS = 200


@dataclass(frozen=True)
class Receiver:
    """The receiver of the running stack, which listens on loopback.

    Attributes:
        http_port: The port of OTLP over HTTP.
        grpc_port: The port of OTLP over gRPC.
    """

    http_port: int
    grpc_port: int

    def url(self, protocol: str) -> str:
        """Return the endpoint for ``protocol``, one of the values of ``PROTOCOL``."""
        port = self.grpc_port if protocol == GRPC else self.http_port
        return f"http://127.0.0.1:{port}"


def given(environment: Mapping[str, str], name: str) -> str:
    """Return a variable without blanks around it; blank if unset, as OpenTelemetry specifies."""
    return environment.get(name, "").strip()


def additions(
    environment: Mapping[str, str], receiver: Receiver, folder: Path, protocol: str = HTTP
) -> dict[str, str]:
    """Return the variables to add to ``environment``; none of them is set there.

    Args:
        environment: The variables of the user.
        receiver: Where to send telemetry.
        folder: The working folder; its name is the service's, unless the user has named it.
        protocol: The protocol that the program should use, unless the user has chosen one.
    """
    endpoint = receiver.url(given(environment, PROTOCOL) or protocol)
    variables = {f"OTEL_{signal}_EXPORTER": "otlp" for signal in SIGNALS}
    variables |= SHORT_INTERVALS | STABLE_CONVENTIONS | {PROTOCOL: protocol, ENDPOINT: endpoint}
    if not given(environment, ENDPOINT):
        variables |= _endpoints_of_signals(environment, receiver)
    if not NAMES_SERVICE.search(given(environment, RESOURCE_ATTRIBUTES)):
        variables[SERVICE_NAME] = service_name(folder)
    return {name: value for name, value in variables.items() if not given(environment, name)}


def _endpoints_of_signals(environment: Mapping[str, str], receiver: Receiver) -> dict[str, str]:
    """Return an endpoint for each signal whose protocol the user has set."""
    endpoints = {}
    for signal in SIGNALS:
        protocol = given(environment, f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL")
        if protocol:
            path = "" if protocol == GRPC else f"/v1/{signal.lower()}"
            endpoints[f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"] = f"{receiver.url(protocol)}{path}"
    return endpoints


def service_name(folder: Path) -> str:
    """Return the name of ``folder`` as the name of a service: printable, and never empty.

    Characters that are not printable, or not text in the file system's encoding, become ``_``.
    """
    characters = (character if character.isprintable() else "_" for character in folder.name)
    return "".join(characters)[:MAX_NAME_CHARS].strip() or "unnamed"
