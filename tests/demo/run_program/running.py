"""Runs the ``demo`` command with a state folder and ports of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.private_ports import free_port

DEMO = (sys.executable, "-m", "three_pillar_demo")
TIMEOUT_S = 120.0
SEND_FAILURE = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
span = provider.get_tracer("test").start_span("GET /products", kind=SpanKind.SERVER)
span.set_status(Status(StatusCode.ERROR, "database is away"))
span.end()
provider.shutdown()
"""
"""A program that sends one failed request, as the variables of OpenTelemetry say."""


@dataclass
class Demo:
    """The ``demo`` command, with all its files in the folder ``state``.

    Attributes:
        state: The state folder, which need not exist.
        command: The words that run the command.
        environment: The environment variables of the command.
    """

    state: Path
    command: Sequence[str] = DEMO
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give the stack ports of its own; leave out the OpenTelemetry variables of the tests."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("OTEL_")
        }
        ports = {
            variable: str(free_port()) for variable in ("STORE_PORT", "STORE_GRPC_PORT", "WEB_PORT")
        }
        defaults = {**inherited, **ports, "DEMO_STATE": str(self.state), "COLUMNS": "200"}
        self.environment = defaults | self.environment

    @property
    def endpoint(self) -> str:
        """The URL of the store, for OTLP over HTTP."""
        return f"http://127.0.0.1:{self.environment['STORE_PORT']}"

    def run(
        self, *arguments: str, cwd: Path | None = None, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command with ``arguments`` to its end, with ``variables`` added."""
        return subprocess.run(
            [*self.command, *arguments],
            cwd=cwd,
            env=self.environment | variables,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
