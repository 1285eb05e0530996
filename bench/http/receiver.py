"""A receiver that takes all telemetry and does next to nothing: it keeps the bodies, and counts them when asked.

``python -m bench.http.receiver PORT``; ``GET /taken`` says what was taken since the last time, anything else is taken.
"""

import asyncio
import gzip
import json
import sys
from typing import Any, cast

import uvloop
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
DURATIONS = {"http.server.request.duration", "http.server.duration"}
"""What a request is counted with, in the new and the old conventions."""
SERVER, GZIP = 2, b"\x1f\x8b"

kept: list[tuple[str, bytes]] = []


class Receiver(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport, self.buffer, self.wanted = (
            cast("asyncio.Transport", transport),
            bytearray(),
            0,
        )

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self.buffer += data
        while len(self.buffer) >= self.wanted and (end := self.buffer.find(b"\r\n\r\n") + 4) > 3:  # noqa: PLR2004
            head = self.buffer[:end].decode("latin-1")
            _, _, length = head.lower().partition("content-length:")
            self.wanted = end + int(length.partition("\r\n")[0] or 0)
            if len(self.buffer) < self.wanted:
                return
            path, body = head.split(" ", 2)[1], bytes(self.buffer[end : self.wanted])
            del self.buffer[: self.wanted]
            self.wanted = 0
            if body:
                kept.append((path, body))
            said = json.dumps(taken()).encode() if path == "/taken" else b""
            self.transport.write(OK % len(said) + said)


def taken() -> dict[str, int]:
    """Count what was taken, and forget it: spans, SERVER spans, lines, requests that metrics counted, series, bytes."""
    bodies, kept[:] = kept[:], []
    total = dict.fromkeys(
        ("spans", "servers", "lines", "counted", "series", "traces", "logs", "metrics"), 0
    )
    counts: dict[tuple[bytes, str, str], int] = {}
    for path, body in bodies:
        total[path.rpartition("/")[2]] += len(body)
        body = gzip.decompress(body) if body.startswith(GZIP) else body  # noqa: PLW2901  (only the Collector compresses)
        if path == "/v1/traces":
            spans = [
                each
                for part in ExportTraceServiceRequest.FromString(body).resource_spans
                for scope in part.scope_spans
                for each in scope.spans
            ]
            total["spans"] += len(spans)
            total["servers"] += sum(each.kind == SERVER for each in spans)
        elif path == "/v1/logs":
            logs = ExportLogsServiceRequest.FromString(body).resource_logs
            total["lines"] += sum(
                len(scope.log_records) for part in logs for scope in part.scope_logs
            )
        else:
            counts |= _points(ExportMetricsServiceRequest.FromString(body))
    total["series"] = len(counts)
    total["counted"] = sum(count for (_, name, _), count in counts.items() if name in DURATIONS)
    return total


def _points(request: Any) -> dict[tuple[bytes, str, str], int]:  # noqa: ANN401  (generated)
    found = {}
    for part in request.resource_metrics:
        who = part.resource.SerializeToString(deterministic=True)
        for metric in (each for scope in part.scope_metrics for each in scope.metrics):
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                found[who, metric.name, str(point.attributes)] = getattr(point, "count", 0)
    return found


async def main() -> None:
    """Take until the end."""
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
