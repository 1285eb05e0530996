"""Refuse to install beside another set-up of OpenTelemetry in the same process.

Two set-ups record each request twice. What the other one sends has not been redacted, and it may
name another service. This module imports nothing of OpenTelemetry: a program that has not imported
it has no other set-up either.
"""

import sys
from typing import Any
from weakref import WeakSet

from .settings import ConfigurationError

ZERO_CODE = "opentelemetry.instrumentation.auto_instrumentation"
"""The module that ``opentelemetry-instrument`` imports in each process, before the program."""

GLOBAL_PROVIDERS = {
    "opentelemetry.trace": "get_tracer_provider",
    "opentelemetry.metrics": "get_meter_provider",
    "opentelemetry._logs": "get_logger_provider",
}
"""The functions of OpenTelemetry's API that return the global providers, by their module."""

_own_providers: WeakSet[Any] = WeakSet()


def register_own(*providers: object) -> None:
    """Register global ``providers`` as those of this library, which are no other set-up."""
    _own_providers.update(providers)


def refuse_other_setup() -> None:
    """Do nothing if no global provider is set, or only those of this library.

    Raises:
        ConfigurationError: The process runs under ``opentelemetry-instrument``, or a global
            provider is that of another set-up; the error has one line that says what to change.
    """
    if ZERO_CODE in sys.modules:
        raise ConfigurationError([_zero_code_problem()])
    for module_name, function_name in GLOBAL_PROVIDERS.items():
        module = sys.modules.get(module_name)
        if module is None:
            continue
        provider = getattr(module, function_name)()
        # Until a provider is set, the functions return a placeholder of the API.
        is_placeholder = type(provider).__module__.startswith(tuple(GLOBAL_PROVIDERS))
        if not is_placeholder and provider not in _own_providers:
            raise ConfigurationError([_provider_problem(type(provider))])


def _zero_code_problem() -> str:
    return (
        "opentelemetry-instrument has set up OpenTelemetry in this process: start the program "
        "without it, because three_pillars.install() sends traces, logs and metrics itself"
    )


def _provider_problem(provider: type) -> str:
    name = f"{provider.__module__}.{provider.__qualname__}"
    return (
        f"OpenTelemetry has a global provider already, {name}: remove the code that sets it, or "
        "pass providers= to three_pillars.install()"
    )


def refuse_instrumented(app: Any) -> None:  # noqa: ANN401  (a FastAPI application, not imported)
    """Do nothing if OpenTelemetry's own instrumentations leave the FastAPI ``app`` to this library.

    Raises:
        RuntimeError: The application or structlog is instrumented already.
    """
    in_middleware = any(
        middleware.cls.__module__ == "opentelemetry.instrumentation.asgi"
        for middleware in app.user_middleware
    )
    if in_middleware or getattr(app, "_is_instrumented_by_opentelemetry", False):
        raise RuntimeError(
            "OpenTelemetry's FastAPI or ASGI instrumentation is in this application already: "
            "remove it, because install() instruments the application"
        )
    structlog = sys.modules.get("opentelemetry.instrumentation.structlog")
    if structlog and structlog.StructlogInstrumentor().is_instrumented_by_opentelemetry:
        raise RuntimeError(
            "StructlogInstrumentor().instrument() has been called: "
            "remove the call, because install() exports the events of structlog"
        )
