"""OTLP requests like those of the two services, made in thousands: a template is built once, then ids and times are patched in.

One request holds ``EACH`` purchases: 4 spans and 6 lines a purchase, with the attributes that the real ones have.
"""

import os
import random
import struct
from collections.abc import Callable

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

EACH, SPANS, LINES = 25, 4, 6
STEP = 20_000_000
"""Nanoseconds between two purchases: 50 a second."""
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
STATUSES = {
    "checkout": ("200", "402", "422", "500", "502", "504"),
    "payment": ("200", "500", "504"),
}
ROUTES = {"checkout": "/checkout", "payment": "/charges"}
HTTP = {
    "http.request.method": "POST",
    "url.scheme": "http",
    "network.protocol.version": "1.1",
    "server.address": "127.0.0.1",
    "client.address": "127.0.0.1",
    "user_agent.original": "python-httpx2/2.16.0",
    "http.response.status_code": 200,
}
ORDER = {
    "order.id": "verify-0a1b2c3d-0000",
    "order.amount": 9.0,
    "order.currency": "EUR",
    "order.outcome": "success",
}

Patch = Callable[[int], tuple[bytes, bytes]]
"""A request for spans and one for lines, from the time of its first purchase."""


def pairs(known: dict[str, object]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    kinds = {str: "string_value", int: "int_value", float: "double_value"}
    return [
        KeyValue(key=key, value=AnyValue(**{kinds[type(value)]: value}))
        for key, value in known.items()
    ]  # type: ignore[arg-type]


def resource(service: str) -> Resource:
    """Who speaks."""
    about: dict[str, object] = {
        "service.name": service,
        "service.namespace": "shop",
        "service.instance.id": f"{service}-1",
    }
    return Resource(
        attributes=pairs(
            about | {"service.version": "0.1.0", "deployment.environment.name": "demo"}
        )
    )


def template() -> Patch:
    """Build the two requests once; returns what makes new ones of them."""
    draw = random.Random(0)  # noqa: S311  (markers, not secrets)
    marks = [
        [draw.randbytes(16), *(draw.randbytes(8) for _ in range(2 * SPANS))] for _ in range(EACH)
    ]
    spans, lines = ExportTraceServiceRequest(), ExportLogsServiceRequest()
    for service, own in (("checkout", (0, 1, 2)), ("payment", (3,))):
        told, said = (
            spans.resource_spans.add(resource=resource(service)),
            lines.resource_logs.add(resource=resource(service)),
        )
        scope, journal = told.scope_spans.add(), said.scope_logs.add()
        for mark in marks:
            trace_id, ids, times = mark[0], mark[1 : 1 + SPANS], mark[1 + SPANS :]
            for at in own:
                scope.spans.add(
                    trace_id=trace_id,
                    span_id=ids[at],
                    parent_span_id=ids[at - 1] if at else b"",
                    name=("POST /checkout", "place order", "POST", "POST /charges")[at],
                    kind=(2, 1, 3, 2)[at],
                    start_time_unix_nano=int.from_bytes(times[at], "little"),
                    end_time_unix_nano=int.from_bytes(times[at], "little") + 1,
                    attributes=pairs(
                        ORDER
                        if at == 1
                        else HTTP | {"http.route": ROUTES[service], "url.path": ROUTES[service]}
                    ),
                )
            for number in range(4 if service == "checkout" else 2):
                journal.log_records.add(
                    time_unix_nano=int.from_bytes(times[own[0]], "little"),
                    trace_id=trace_id,
                    span_id=ids[own[0]],
                    severity_number=17 if number == 1 else 9,
                    severity_text="ERROR" if number == 1 else "INFO",
                    body=AnyValue(
                        string_value=f"{service} said number {number} of what there is to say"
                    ),
                    attributes=pairs(ORDER | HTTP),
                )
    return _patching(spans.SerializeToString(), lines.SerializeToString(), marks)


def _patching(spans: bytes, lines: bytes, marks: list[list[bytes]]) -> Patch:
    ends = [
        [struct.pack("<Q", int.from_bytes(mark, "little") + 1) for mark in each[1 + SPANS :]]
        for each in marks
    ]
    places = [
        [
            [_all(body, mark) for mark in each[: 1 + SPANS]],
            [_all(body, mark) for mark in each[1 + SPANS :]],
            [_all(body, e) for e in end],
        ]
        for body in (spans, lines)
        for each, end in zip(marks, ends, strict=True)
    ]

    def patch(start: int) -> tuple[bytes, bytes]:
        bodies = bytearray(spans), bytearray(lines)
        fresh = [[os.urandom(16), *(os.urandom(8) for _ in range(SPANS))] for _ in range(EACH)]
        for number, (ids, begins, closes) in enumerate(places):
            body, purchase = bodies[number // EACH], number % EACH
            for found, value in zip(ids, fresh[purchase], strict=True):
                for at in found:
                    body[at : at + len(value)] = value
            for depth in range(SPANS):
                begin = start + purchase * STEP + depth * 1_000_000
                for at in begins[depth]:
                    body[at : at + 8] = struct.pack("<Q", begin)
                for at in closes[depth]:
                    body[at : at + 8] = struct.pack(
                        "<Q", begin + 200_000_000 - 2 * depth * 1_000_000
                    )
        return bytes(bodies[0]), bytes(bodies[1])

    return patch


def _all(body: bytes, mark: bytes) -> list[int]:
    found, at = [], body.find(mark)
    while at >= 0:
        found.append(at)
        at = body.find(mark, at + 1)
    return found


def counts(moment: int, seconds: float) -> bytes:
    """One export of both services' request histogram, after ``seconds`` of 50 purchases a second."""
    request = ExportMetricsServiceRequest()
    for service, statuses in STATUSES.items():
        data = request.resource_metrics.add(resource=resource(service)).scope_metrics.add()
        metric = data.metrics.add(name="http.server.request.duration", unit="s")
        metric.histogram.aggregation_temporality = 2
        for status in statuses:
            each = int(seconds * 50 / len(statuses))
            metric.histogram.data_points.add(
                attributes=pairs(
                    {
                        "http.route": ROUTES[service],
                        "http.request.method": "POST",
                        "http.response.status_code": int(status),
                    }
                ),
                start_time_unix_nano=moment - int(seconds * 1e9),
                time_unix_nano=moment,
                count=each,
                sum=each * 0.2,
                bucket_counts=[0] * 6 + [each] + [0] * 8,
                explicit_bounds=BOUNDS,
            )
    return bytes(request.SerializeToString())


def share(values: list[float], part: float) -> float:
    """The value that ``part`` (0 to 1) of ``values`` do not exceed."""
    return sorted(values)[max(0, min(len(values) - 1, round(part * len(values)) - 1))]
