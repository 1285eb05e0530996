"""Make thousands of OTLP requests like those of the services checkout and payment.

Encoding each request would cost more than sending it. So a template is encoded once, with random
markers in place of ids and times, and each request is a copy with the markers overwritten. One
request holds ``PURCHASES`` purchases: 4 spans and 6 log records each, with the attributes that the
services set.
"""

import os
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

PURCHASES = 25
"""The number of purchases in one request."""
SPANS = 4
"""The number of spans of one purchase."""
RECORDS = 6
"""The number of log records of one purchase."""
INTERVAL_NS = 20_000_000
"""The time between two purchases in nanoseconds: 20 ms, so 50 purchases a second."""
DEPTH_NS = 1_000_000
"""The time from the start of a span to the start of its child, in nanoseconds."""
DURATION_NS = 200_000_000
"""The duration of the outermost span of a purchase, in nanoseconds."""
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
STATUSES = {
    "checkout": ("200", "402", "422", "500", "502", "504"),
    "payment": ("200", "500", "504"),
}
SPANS_OF = ((0, 1, 2), (3,))
"""The spans of the calling and of the called service, as depths, outermost span first."""
RECORDS_OF = (4, 2)
"""The number of log records of the calling and of the called service."""
SPAN_KINDS = (2, 1, 3, 2)
HTTP: Mapping[str, str | int | float] = {
    "http.request.method": "POST",
    "url.scheme": "http",
    "network.protocol.version": "1.1",
    "server.address": "127.0.0.1",
    "client.address": "127.0.0.1",
    "user_agent.original": "python-httpx2/2.16.0",
    "http.response.status_code": 200,
}
ORDER: Mapping[str, str | int | float] = {
    "order.id": "verify-0a1b2c3d-0000",
    "order.amount": 9.0,
    "order.currency": "EUR",
    "order.outcome": "success",
}


@dataclass(frozen=True)
class Call:
    """The call that one purchase consists of: two services and the route of each.

    The first service calls the second one.
    """

    services: tuple[str, str]
    routes: tuple[str, str]

    def span_name(self, depth: int) -> str:
        """Return the name of the span at ``depth``."""
        client_route, server_route = self.routes
        return (f"POST {client_route}", "place order", "POST", f"POST {server_route}")[depth]


SHOP = Call(("checkout", "payment"), ("/checkout", "/charges"))
"""The purchase of the demo's own shop."""

RequestFactory = Callable[[int], tuple[bytes, bytes]]
"""A function that returns an encoded trace request and log request; its argument is the start of
the first purchase in nanoseconds since the epoch."""


def key_values(attributes: Mapping[str, str | int | float]) -> list[KeyValue]:
    """Return attributes as a list of OTLP ``KeyValue`` messages."""
    result = []
    for key, value in attributes.items():
        if isinstance(value, str):
            any_value = AnyValue(string_value=value)
        elif isinstance(value, int):
            any_value = AnyValue(int_value=value)
        else:
            any_value = AnyValue(double_value=value)
        result.append(KeyValue(key=key, value=any_value))
    return result


def resource(service: str) -> Resource:
    """Return the OTLP resource of ``service``, such as ``checkout``."""
    attributes = {
        "service.name": service,
        "service.namespace": "shop",
        "service.instance.id": f"{service}-1",
        "service.version": "0.1.0",
        "deployment.environment.name": "demo",
    }
    return Resource(attributes=key_values(attributes))


@dataclass(frozen=True)
class Markers:
    """The random bytes that stand for the ids and start times of one purchase in the template."""

    trace_id: bytes
    span_ids: list[bytes]
    starts: list[bytes]

    @classmethod
    def random(cls, draw: random.Random) -> "Markers":
        """Return new markers, drawn from the random generator ``draw``."""
        return cls(
            draw.randbytes(16),
            [draw.randbytes(8) for _ in range(SPANS)],
            [draw.randbytes(8) for _ in range(SPANS)],
        )

    def start(self, depth: int) -> int:
        """Return the start marker of the span at ``depth`` as a little-endian integer.

        Depth 0 is the outermost span. OTLP encodes times as little-endian integers.
        """
        return int.from_bytes(self.starts[depth], "little")

    def ends(self) -> list[bytes]:
        """Return the markers of the end times of the spans, outermost span first.

        An end marker is the start marker of the same span plus 1, encoded as OTLP encodes times: as
        an 8-byte little-endian integer.
        """
        return [struct.pack("<Q", self.start(depth) + 1) for depth in range(SPANS)]


def request_factory(calls: Sequence[Call] = (SHOP,) * PURCHASES) -> RequestFactory:
    """Encode the template and return a function that makes requests from copies of it.

    ``calls`` are the ``PURCHASES`` purchases of a request.
    """
    draw = random.Random(0)  # noqa: S311  (markers, not secrets)
    markers = [Markers.random(draw) for _ in calls]
    traces = ExportTraceServiceRequest()
    logs = ExportLogsServiceRequest()
    for service in dict.fromkeys(name for call in calls for name in call.services):
        spans = traces.resource_spans.add(resource=resource(service)).scope_spans.add()
        records = logs.resource_logs.add(resource=resource(service)).scope_logs.add()
        for call, purchase in zip(calls, markers, strict=True):
            for role, name in enumerate(call.services):
                if name == service:
                    _add_spans(spans, call, role, purchase)
                    _add_records(records, call, role, purchase)
    templates = (traces.SerializeToString(), logs.SerializeToString())
    return _patching(templates, markers)


def _add_spans(scope: ScopeSpans, call: Call, role: int, purchase: Markers) -> None:
    """Add the spans of the calling service, ``role`` 0, or of the called one, ``role`` 1."""
    route = {"http.route": call.routes[role], "url.path": call.routes[role]}
    for depth in SPANS_OF[role]:
        scope.spans.add(
            trace_id=purchase.trace_id,
            span_id=purchase.span_ids[depth],
            parent_span_id=purchase.span_ids[depth - 1] if depth else b"",
            name=call.span_name(depth),
            kind=SPAN_KINDS[depth],
            start_time_unix_nano=purchase.start(depth),
            end_time_unix_nano=purchase.start(depth) + 1,
            attributes=key_values(ORDER if depth == 1 else {**HTTP, **route}),
        )


def _add_records(scope: ScopeLogs, call: Call, role: int, purchase: Markers) -> None:
    depth = SPANS_OF[role][0]
    service = call.services[role]
    for number in range(RECORDS_OF[role]):
        is_error = number == 1
        scope.log_records.add(
            time_unix_nano=purchase.start(depth),
            trace_id=purchase.trace_id,
            span_id=purchase.span_ids[depth],
            severity_number=17 if is_error else 9,
            severity_text="ERROR" if is_error else "INFO",
            body=AnyValue(string_value=f"log record number {number} of service {service}, a text"),
            attributes=key_values({**ORDER, **HTTP}),
        )


@dataclass(frozen=True)
class Offsets:
    """The byte offsets, in one template, of each id, start time and end time of one purchase."""

    ids: list[list[int]]
    starts: list[list[int]]
    ends: list[list[int]]


def _patching(templates: tuple[bytes, bytes], markers: list[Markers]) -> RequestFactory:
    offsets = [[_offsets(template, purchase) for purchase in markers] for template in templates]

    def make(start: int) -> tuple[bytes, bytes]:
        ids = [[os.urandom(16), *(os.urandom(8) for _ in range(SPANS))] for _ in range(PURCHASES)]
        traces, logs = (
            _patched(template, purchases, ids, start)
            for template, purchases in zip(templates, offsets, strict=True)
        )
        return traces, logs

    return make


def _offsets(template: bytes, purchase: Markers) -> Offsets:
    return Offsets(
        [_find_all(template, marker) for marker in (purchase.trace_id, *purchase.span_ids)],
        [_find_all(template, marker) for marker in purchase.starts],
        [_find_all(template, marker) for marker in purchase.ends()],
    )


def _patched(
    template: bytes, purchases: list[Offsets], ids: list[list[bytes]], start: int
) -> bytes:
    body = bytearray(template)
    for number, offsets in enumerate(purchases):
        for positions, value in zip(offsets.ids, ids[number], strict=True):
            _overwrite(body, positions, value)
        for depth in range(SPANS):
            begin = start + number * INTERVAL_NS + depth * DEPTH_NS
            end = begin + DURATION_NS - 2 * depth * DEPTH_NS
            _overwrite(body, offsets.starts[depth], struct.pack("<Q", begin))
            _overwrite(body, offsets.ends[depth], struct.pack("<Q", end))
    return bytes(body)


def _overwrite(body: bytearray, positions: list[int], value: bytes) -> None:
    for position in positions:
        body[position : position + len(value)] = value


def _find_all(body: bytes, marker: bytes) -> list[int]:
    positions = []
    position = body.find(marker)
    while position >= 0:
        positions.append(position)
        position = body.find(marker, position + 1)
    return positions


def metrics_request(now_ns: int, seconds: float) -> bytes:
    """Return an encoded metrics request with the duration histograms of checkout and payment.

    ``now_ns`` is the time of the points in nanoseconds since the epoch. The histograms count 50
    purchases a second over the last ``seconds``.
    """
    request = ExportMetricsServiceRequest()
    for service, route in zip(SHOP.services, SHOP.routes, strict=True):
        statuses = STATUSES[service]
        counts = {(route, status): int(seconds * 50 / len(statuses)) for status in statuses}
        add_durations(request, service, counts, now_ns - int(seconds * 1e9), now_ns)
    return bytes(request.SerializeToString())


def add_durations(
    request: ExportMetricsServiceRequest,
    service: str,
    counts: Mapping[tuple[str, str], int],
    start_ns: int,
    now_ns: int,
) -> None:
    """Add a histogram of request durations of ``service`` to ``request``.

    ``counts`` are the numbers of requests by route and status, since ``start_ns`` until ``now_ns``,
    both in nanoseconds since the epoch.
    """
    scope = request.resource_metrics.add(resource=resource(service)).scope_metrics.add()
    metric = scope.metrics.add(name="http.server.request.duration", unit="s")
    metric.histogram.aggregation_temporality = 2
    for (route, status), count in counts.items():
        attributes: dict[str, str | int | float] = {
            "http.route": route,
            "http.request.method": "POST",
            "http.response.status_code": int(status),
        }
        metric.histogram.data_points.add(
            attributes=key_values(attributes),
            start_time_unix_nano=start_ns,
            time_unix_nano=now_ns,
            count=count,
            sum=count * 0.2,
            bucket_counts=[0] * 6 + [count] + [0] * 8,
            explicit_bounds=BOUNDS,
        )


def quantile(values: list[float], share: float) -> float:
    """Return the ``share`` quantile (0.5 is the median) of ``values``, by the nearest rank."""
    rank = round(share * len(values)) - 1
    return sorted(values)[max(0, min(len(values) - 1, rank))]
