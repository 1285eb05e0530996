"""Where the rate, errors and durations (RED) of a service come from, and what counts as a failure.

The names of metrics and labels are those of OpenTelemetry's semantic conventions, old and new, as
Prometheus writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SPANS = "SERVER and CONSUMER spans"
"""The source of services that send no histogram of request durations."""
ROOT_SPANS = "root spans"
"""The source of jobs and scripts, which receive no requests: their spans without a parent."""
RPC_FAILURES = {
    "2": "UNKNOWN",
    "4": "DEADLINE_EXCEEDED",
    "12": "UNIMPLEMENTED",
    "13": "INTERNAL",
    "14": "UNAVAILABLE",
    "15": "DATA_LOSS",
}
"""The codes of gRPC that are failures of the server; the conventions leave the others unset."""
NO_ROUTE = "no route"
"""The name for requests that match no route, or whose route is not known."""
UNNAMED_METHOD = "_OTHER"
"""What the conventions put in the place of a method that is not known."""
STATUS_LABELS = (
    "http_response_status_code",
    "http_status_code",
    "rpc_response_status_code",
    "rpc_grpc_status_code",
    "error_type",
)
"""The labels that say how a request ended; the first one that is present decides."""
ROUTE_LABELS = (
    "http_request_method",
    "http_method",
    "http_route",
    "rpc_service",
    "rpc_method",
)
"""The labels that say what was requested."""


@dataclass(frozen=True)
class RedMetric:
    """A histogram of the durations of the requests that a service has answered.

    Attributes:
        name: OpenTelemetry's name.
        metric: Prometheus' name.
        unit_s: The unit of its values, in seconds.
    """

    name: str
    metric: str
    unit_s: float = 1.0


RED_METRICS = (
    RedMetric("http.server.request.duration", "http_server_request_duration_seconds"),
    RedMetric("http.server.duration", "http_server_duration_milliseconds", 0.001),
    RedMetric("rpc.server.call.duration", "rpc_server_call_duration_seconds"),
    RedMetric("rpc.server.duration", "rpc_server_duration_milliseconds", 0.001),
    RedMetric("rpc.server.duration", "rpc_server_duration_seconds"),
)
"""The histograms in the order of preference: the first one that a service sends is used."""
BY_METRIC = {source.metric: source for source in RED_METRICS}
"""The histograms by their names in Prometheus."""


def is_failed(labels: Mapping[str, str]) -> bool:
    """Return whether the labels of a histogram are those of requests that the server failed.

    Failures are HTTP statuses from 500 to 599, the codes ``RPC_FAILURES``, and, without a status,
    any ``error.type``.
    """
    label = next((name for name in STATUS_LABELS if labels.get(name)), "")
    status = labels.get(label, "")
    if label.startswith("http"):
        return status.startswith("5")
    if label.startswith("rpc"):
        return status in RPC_FAILURES or status in RPC_FAILURES.values()
    return bool(label)


def status_of(labels: Mapping[str, str]) -> str:
    """Return the status of a request from the labels of its histogram; "" if it has none."""
    return next((labels[name] for name in STATUS_LABELS if labels.get(name)), "")


def route_of(labels: Mapping[str, str]) -> str:
    """Return what was requested as text: ``POST /checkout``, ``shop.Cart/Add`` or ``no route``."""
    rpc = [labels[name] for name in ("rpc_service", "rpc_method") if labels.get(name)]
    if rpc:
        return "/".join(rpc)
    method = labels.get("http_request_method") or labels.get("http_method") or ""
    route = labels.get("http_route") or NO_ROUTE
    return f"{method} {route}" if method not in {"", UNNAMED_METHOD} else route
