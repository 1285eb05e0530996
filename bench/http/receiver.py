"""An OTLP receiver that accepts everything: ``python -m bench.http.receiver PORT``.

``GET /taken`` returns how much arrived since the last ``GET /taken``, as JSON. To use little CPU
time under load, the receiver only stores the request bodies and decodes them at ``GET /taken``.
"""

import asyncio
import gzip
import json
import sys
from typing import cast

import uvloop
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
HEADER_END = b"\r\n\r\n"
DURATIONS = {"http.server.request.duration", "http.server.duration"}
"""The histograms that count requests, under their names in the new and in the old semantic
conventions."""
SERVER_KIND = 2
GZIP_MAGIC = b"\x1f\x8b"
COUNTS = ("spans", "servers", "lines", "counted", "series", "traces", "logs", "metrics")
"""The keys of the answer to ``GET /taken``.

- ``spans``, ``servers``: the number of spans, and of SERVER spans.
- ``lines``: the number of log records.
- ``counted``: the number of requests that the histograms in ``DURATIONS`` have counted.
- ``series``: the number of metric series.
- ``traces``, ``logs``, ``metrics``: the size of the received request bodies in bytes.
"""

Series = tuple[bytes, str, str]
"""A metric series: its encoded resource, its metric name, and its attributes as text."""

bodies: list[tuple[str, bytes]] = []
"""The path and the body of each OTLP request since the last ``GET /taken``."""


class Receiver(asyncio.Protocol):
    """The server side of one HTTP connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a new connection with an empty receive buffer."""
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = bytearray()
        self.needed = 0

    def data_received(self, data: bytes) -> None:
        """Add ``data`` to the buffer, and answer every request that is complete."""
        self.buffer += data
        while len(self.buffer) >= self.needed:
            header_end = self.buffer.find(HEADER_END)
            if header_end < 0:
                return
            body_start = header_end + len(HEADER_END)
            head = self.buffer[:body_start].decode("latin-1")
            _, _, length = head.lower().partition("content-length:")
            self.needed = body_start + int(length.partition("\r\n")[0] or 0)
            if len(self.buffer) < self.needed:
                return
            path = head.split(" ", 2)[1]
            body = bytes(self.buffer[body_start : self.needed])
            del self.buffer[: self.needed]
            self.needed = 0
            self._answer(path, body)

    def _answer(self, path: str, body: bytes) -> None:
        if body:
            bodies.append((path, body))
        content = json.dumps(take_counts()).encode() if path == "/taken" else b""
        self.transport.write(RESPONSE % len(content) + content)


def take_counts() -> dict[str, int]:
    """Count what arrived since the last call; return the counts under the keys in ``COUNTS``."""
    taken_bodies = bodies[:]
    bodies.clear()
    counts = dict.fromkeys(COUNTS, 0)
    points: dict[Series, int] = {}
    for path, body in taken_bodies:
        counts[path.rpartition("/")[2]] += len(body)
        # Only the Collector compresses.
        content = gzip.decompress(body) if body.startswith(GZIP_MAGIC) else body
        if path == "/v1/traces":
            _count_spans(content, counts)
        elif path == "/v1/logs":
            _count_log_records(content, counts)
        else:
            points |= _points(content)
    counts["series"] = len(points)
    counts["counted"] = sum(count for (_, name, _), count in points.items() if name in DURATIONS)
    return counts


def _count_spans(content: bytes, counts: dict[str, int]) -> None:
    for resource_spans in ExportTraceServiceRequest.FromString(content).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            counts["spans"] += len(scope_spans.spans)
            counts["servers"] += sum(span.kind == SERVER_KIND for span in scope_spans.spans)


def _count_log_records(content: bytes, counts: dict[str, int]) -> None:
    for resource_logs in ExportLogsServiceRequest.FromString(content).resource_logs:
        for scope_logs in resource_logs.scope_logs:
            counts["lines"] += len(scope_logs.log_records)


def _points(content: bytes) -> dict[Series, int]:
    """Return the number of measurements of each histogram series, and 0 for any other series."""
    points = {}
    for resource_metrics in ExportMetricsServiceRequest.FromString(content).resource_metrics:
        resource = resource_metrics.resource.SerializeToString(deterministic=True)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                for point in getattr(metric, str(metric.WhichOneof("data"))).data_points:
                    series = (resource, metric.name, str(point.attributes))
                    points[series] = getattr(point, "count", 0)
    return points


async def main() -> None:
    """Listen on 127.0.0.1, on the port given on the command line."""
    port = int(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
