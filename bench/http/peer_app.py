"""Run the peer's app: ``python bench/http/peer_app.py APP PORT MODE``, in the peer's folder.

Only the standard library and the peer's own packages are imported, because the peer has an
environment of its own. The app runs as its ``main.py`` runs it. Two things differ: it listens on
``PORT``, and it exports its spans by OTLP over HTTP instead of gRPC, because the receiver of the
benchmark speaks HTTP. ``APP`` and ``MODE`` have no effect.
"""

import os
import runpy
import sys
from importlib import import_module
from pathlib import Path


def export_over_http() -> None:
    """Replace OpenTelemetry's exporter over gRPC by the one over HTTP.

    Its endpoint is that of ``OTEL_EXPORTER_OTLP_ENDPOINT``. The arguments that the peer gives to
    the exporter over gRPC, the endpoint and ``insecure``, have no effect.
    """
    grpc = import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    http = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    vars(grpc)["OTLPSpanExporter"] = lambda **_: http.OTLPSpanExporter()


if __name__ == "__main__":
    os.environ["EXPOSE_PORT"] = sys.argv[2]
    export_over_http()
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_path("main.py", run_name="__main__")
