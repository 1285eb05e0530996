"""A receiver of OTLP over HTTP that answers as it is told to, and keeps what it took."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Receiver:
    """``answers`` are given one after the other: a status and its headers; then, and by default, it takes everything."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        """Take everything."""
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.answers: deque[tuple[int, dict[str, str]]] = deque()
        self.asked: list[float] = []
        self.spans: list[str] = []
        self.lines: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def take(self, path: str, body: bytes) -> None:
        """Keep the names of spans, and what lines say."""
        if path == "/v1/traces":
            spans = ExportTraceServiceRequest.FromString(body).resource_spans
            self.spans += [
                each.name for part in spans for scope in part.scope_spans for each in scope.spans
            ]
        elif path == "/v1/logs":
            lines = ExportLogsServiceRequest.FromString(body).resource_logs
            self.lines += [
                each.body.string_value
                for part in lines
                for scope in part.scope_logs
                for each in scope.log_records
            ]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of its own; while ``open`` is not set it accepts and does not answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.asked.append(time.monotonic())
            kept.open.wait(60)
            status, headers = kept.answers.popleft() if kept.answers else (200, {})
            if status == 200:
                kept.take(self.path, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of who hung up: that is what is tried here."""

    with Server(("127.0.0.1", 0), Handler) as server:
        kept = Receiver(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield kept
        finally:
            kept.open.set()
            server.shutdown()
            thread.join()
