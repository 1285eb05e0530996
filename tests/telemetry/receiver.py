"""An OTLP receiver over HTTP whose responses a test chooses, and which stores accepted items."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

RESPONSE_TIMEOUT_S = 60


class Receiver:
    """The state of an OTLP receiver: its next responses, and the spans and records it accepted.

    Each of ``responses``, a status and headers, is sent once, in order; afterwards every request
    gets 200. While the event ``responding`` is not set, requests get no response.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        """Begin without queued responses, so that every request gets 200."""
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.responses: deque[tuple[int, dict[str, str]]] = deque()
        self.request_times: list[float] = []
        self.span_names: list[str] = []
        self.log_bodies: list[str] = []
        self.responding = threading.Event()
        self.responding.set()

    def store(self, path: str, body: bytes) -> None:
        """Store the names of the spans, or the bodies of the log records, in an OTLP ``body``."""
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            for resource in traces.resource_spans:
                for scope in resource.scope_spans:
                    self.span_names += [span.name for span in scope.spans]
        elif path == "/v1/logs":
            logs = ExportLogsServiceRequest.FromString(body)
            for resource_logs in logs.resource_logs:
                for scope_logs in resource_logs.scope_logs:
                    records = scope_logs.log_records
                    self.log_bodies += [record.body.string_value for record in records]


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    """Run a receiver on a free port until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.request_times.append(time.monotonic())
            receiver.responding.wait(RESPONSE_TIMEOUT_S)
            accepted = (200, dict[str, str]())
            status, headers = receiver.responses.popleft() if receiver.responses else accepted
            if status == 200:
                receiver.store(self.path, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Print nothing about clients that close the connection, as some tests make them do."""

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.responding.set()
            server.shutdown()
            thread.join()
