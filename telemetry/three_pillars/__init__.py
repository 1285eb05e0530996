"""Traces, logs and metrics for a FastAPI application, installed by the call ``install()``.

README.md of the library explains the parameters of the call. The library reads the standard
``OTEL_*`` variables and no others. Importing the package has no side effects and does not import
OpenTelemetry.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .installation import EXCLUDED_PATHS, install
    from .logs import log_to_stdout
    from .pauses import reduce_pauses
    from .recording import Recording
    from .resource import ServiceResource
    from .settings import ConfigurationError
    from .tail_sampling import TailSampling
    from .traces import instrument_client, trace_id

__all__ = [
    "EXCLUDED_PATHS",
    "ConfigurationError",
    "Recording",
    "ServiceResource",
    "TailSampling",
    "install",
    "instrument_client",
    "log_to_stdout",
    "reduce_pauses",
    "trace_id",
]

_MODULES = {
    "EXCLUDED_PATHS": "installation",
    "ConfigurationError": "settings",
    "Recording": "recording",
    "ServiceResource": "resource",
    "TailSampling": "tail_sampling",
    "install": "installation",
    "instrument_client": "traces",
    "log_to_stdout": "logs",
    "reduce_pauses": "pauses",
    "trace_id": "traces",
}
"""Public names of the package, each with the module that defines it.

A module is imported when one of these public names is first used (PEP 562). This allows
``three_pillars.environment`` to check the variables before OpenTelemetry reads them.
"""


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
