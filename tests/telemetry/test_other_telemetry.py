"""``install()`` beside another set-up of OpenTelemetry is refused with one clear error."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked_programs import ForkServer, fork_server

INSTRUMENT = Path(sys.executable).parent / "opentelemetry-instrument"

IMPORTED = (
    "fastapi",
    "opentelemetry.instrumentation.asgi",
    "opentelemetry.instrumentation.fastapi",
    "opentelemetry.instrumentation.structlog",
    "opentelemetry.sdk._logs",
    "opentelemetry.sdk.metrics",
    "opentelemetry.sdk.trace",
    "three_pillars.installation",
)
"""The modules that the programs below find imported. What is installed is different in each."""
APPLICATION = """
from fastapi import FastAPI
from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.structlog import StructlogInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from three_pillars import ServiceResource, install

app = FastAPI()
"""
INSTALL = 'install(app, ServiceResource("hello"))\n'

GLOBAL = "three_pillars.settings.ConfigurationError: OpenTelemetry has a global provider already, "
INSTRUMENTED = (
    "RuntimeError: OpenTelemetry's FastAPI or ASGI instrumentation is in this application already:"
)
REFUSED = {
    "global tracer provider": (
        "trace.set_tracer_provider(TracerProvider())",
        f"{GLOBAL}opentelemetry.sdk.trace.TracerProvider: remove the code that sets it",
    ),
    "global meter provider": (
        "metrics.set_meter_provider(MeterProvider())",
        f"{GLOBAL}opentelemetry.sdk.metrics",
    ),
    "global logger provider": (
        "_logs.set_logger_provider(LoggerProvider())",
        f"{GLOBAL}opentelemetry.sdk._logs",
    ),
    "instrumented application": ("FastAPIInstrumentor.instrument_app(app)", INSTRUMENTED),
    "instrumented class": (
        "FastAPIInstrumentor().instrument()\nimport fastapi\napp = fastapi.FastAPI()",
        INSTRUMENTED,
    ),
    "ASGI middleware": ("app.add_middleware(OpenTelemetryMiddleware)", INSTRUMENTED),
    "instrumented structlog": (
        "StructlogInstrumentor().instrument()",
        "RuntimeError: StructlogInstrumentor().instrument() has been called:",
    ),
}
"""Each case: code between the creation of the application and ``install()``, and the error."""


def environment() -> dict[str, str]:
    """Return the variables of the test run but those of OpenTelemetry."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    # An address of the range for documentation: a service that starts ends all the same.
    return inherited | {"PAYMENT_BIND": "203.0.113.1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A server of programs that find the modules ``IMPORTED`` imported."""
    with fork_server(tmp_path_factory.mktemp("programs"), *IMPORTED) as server:
        yield server


def run(*command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end without the ``OTEL_*`` variables of the test run."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("case_name", REFUSED)
def test_second_set_up_is_refused(server: ForkServer, case_name: str) -> None:
    """``install()`` raises an error that names the other set-up and what to remove."""
    code, error = REFUSED[case_name]
    completed = server.run(environment(), code=APPLICATION + code + "\n" + INSTALL)
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1].startswith(error)


@pytest.mark.parametrize("signal", ["TRACER", "METER", "LOGGER"])
def test_refused_variable_is_named_before_it_is_obeyed(server: ForkServer, signal: str) -> None:
    """A variable that names a global provider is refused by name, not by OpenTelemetry's error."""
    name = f"OTEL_PYTHON_{signal}_PROVIDER"
    code = f'import os\nos.environ["{name}"] = "theirs"\n{INSTALL}'
    completed = server.run(environment(), code=APPLICATION + code)
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1].startswith(
        f"three_pillars.settings.ConfigurationError: {name}=theirs: allowed is none"
    )


def test_own_providers_may_stand_beside_global_ones(server: ForkServer) -> None:
    """With ``providers=`` the global providers are left to the application."""
    code = (
        "from three_pillars import environment, providers\n"
        'own = providers.otlp_providers(ServiceResource("hello"), environment.validate())\n'
        "trace._TRACER_PROVIDER = TracerProvider()\n"
        'install(app, ServiceResource("hello"), providers=own)\n'
    )
    completed = server.run(environment(), code=APPLICATION + code)
    assert completed.returncode == 0, completed.stderr


def test_two_applications_of_one_process_are_accepted(server: ForkServer) -> None:
    """The global providers of an earlier ``install()`` are no other set-up."""
    code = f'{INSTALL}install(FastAPI(), ServiceResource("other"))\n'
    completed = server.run(environment(), code=APPLICATION + code)
    assert completed.returncode == 0, completed.stderr


def test_zero_code_instrumentation_of_an_application_is_refused(tmp_path: Path) -> None:
    """Under ``opentelemetry-instrument`` the error says to start the program without it."""
    completed = run(str(INSTRUMENT), sys.executable, "-c", APPLICATION + INSTALL, folder=tmp_path)
    assert completed.returncode == 1
    error = completed.stderr.splitlines()[-1]
    assert error.startswith("three_pillars.settings.ConfigurationError: opentelemetry-instrument ")
    assert "start the program without it" in error


@pytest.mark.parametrize("service", ["checkout", "payment"])
def test_zero_code_instrumentation_of_a_service_is_refused(service: str) -> None:
    """A service under ``opentelemetry-instrument`` ends with code 2 and one line."""
    completed = run(str(INSTRUMENT), sys.executable, "-m", f"services.{service}")
    assert (completed.returncode, completed.stdout) == (2, ""), completed.stderr
    (line,) = completed.stderr.splitlines()
    assert "start the program without it" in line
