"""How a service's process starts: it checks its environment before anything else."""

import sys
from importlib import import_module

from three_pillars import ConfigurationError, environment

USAGE_ERROR = 2


def run(module_name: str) -> int:
    """Run the service in ``module_name`` until SIGTERM or SIGINT, and return the exit code.

    The module has ``Settings``, a ``ServiceSettings``, and ``create_service()``. A variable that
    cannot be obeyed ends the process with one line on stderr, before anything is imported that
    imports OpenTelemetry: an unknown OTEL_PROPAGATORS would raise there.
    """
    try:
        environment.prepare()
        service = import_module(module_name)
        settings = service.Settings.load()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE_ERROR
    from services.common import server  # noqa: PLC0415  (it imports OpenTelemetry, too)

    server.serve(f"{module_name}:create_service", settings)
    return 0
