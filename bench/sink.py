"""What stands in for Tempo behind the Collector: takes spans by OTLP over gRPC, and counts them; run in ``.venv-bench``.

``python -m bench.sink PORT``; for each line on stdin it says how many spans it has.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SIZE = [("grpc.max_receive_message_length", 64 * 1024**2)]
taken: list[bytes] = []


class Sink(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every call with an empty message, which is what says that all was taken."""

    def service(self, _details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Keep the bytes: they are counted later."""

        def take(body: bytes, _context: grpc.ServicerContext) -> bytes:
            taken.append(body)
            return b""

        return grpc.unary_unary_rpc_method_handler(take)


def spans(body: bytes) -> int:
    """How many there are in one request."""
    parts = ExportTraceServiceRequest.FromString(body).resource_spans
    return sum(len(scope.spans) for part in parts for scope in part.scope_spans)


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Sink()], options=SIZE)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    count = 0
    for _line in sys.stdin:
        bodies, taken[:] = taken[:], []
        count += sum(map(spans, bodies))
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()
