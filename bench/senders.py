"""Send OTLP requests to a local store over HTTP or gRPC; each is repeated until it is accepted."""

import http.client
import time
from typing import Any, Protocol

import grpc

OK = 200
RETRY_PAUSE_S = 0.1
TIMEOUT_S = 30.0
GRPC_METHODS = {
    signal: f"/opentelemetry.proto.collector.{package}.v1.{service}Service/Export"
    for signal, package, service in (
        ("traces", "trace", "Trace"),
        ("logs", "logs", "Logs"),
        ("metrics", "metrics", "Metrics"),
    )
}


class Sender(Protocol):
    """A connection to a store."""

    def try_once(self, signal: str, body: bytes) -> bool:
        """Send ``body`` as a request of ``signal``; return whether the store accepted it."""


class HttpSender:
    """A connection over HTTP/1.1."""

    def __init__(self, port: int) -> None:
        """Prepare a connection to the store that listens on ``port`` of this machine."""
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def try_once(self, signal: str, body: bytes) -> bool:
        """Send ``body`` as a request of ``signal``; return whether the store accepted it."""
        headers = {"content-type": "application/x-protobuf"}
        self.connection.request("POST", f"/v1/{signal}", body, headers)
        response = self.connection.getresponse()
        response.read()
        return response.status == OK


class GrpcSender:
    """A connection over gRPC."""

    def __init__(self, port: int) -> None:
        """Prepare a connection to the store that listens on ``port`` of this machine."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        self.methods: dict[str, Any] = {
            signal: channel.unary_unary(method) for signal, method in GRPC_METHODS.items()
        }

    def try_once(self, signal: str, body: bytes) -> bool:
        """Send ``body`` as a request of ``signal``; return whether the store accepted it."""
        try:
            self.methods[signal](body, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True


TRANSPORTS: dict[str, type[HttpSender] | type[GrpcSender]] = {
    "HTTP": HttpSender,
    "gRPC": GrpcSender,
}


def send(sender: Sender, signal: str, body: bytes) -> float:
    """Send ``body`` as often as needed until the store accepts it.

    Return the seconds from the first attempt until the store accepted ``body``.
    """
    began = time.perf_counter()
    while not sender.try_once(signal, body):
        time.sleep(RETRY_PAUSE_S)  # its queue is full
    return time.perf_counter() - began
