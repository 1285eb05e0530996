"""Start the process of a service: check its environment variables first, then run the server."""

import sys
from importlib import import_module

from three_pillars.pauses import no_collections

with no_collections():
    from three_pillars import ConfigurationError, environment
    from three_pillars.other_telemetry import refuse_other_setup

USAGE_ERROR = 2


def run(module_name: str) -> int:
    """Run the service in ``module_name`` until SIGTERM or SIGINT, and return the exit code.

    The module has a class ``Settings``, derived from ``ServiceSettings``, and a function
    ``create_service()``. If environment variables are invalid, the function writes one line for
    each of them to stderr and returns 2. It does the same under ``opentelemetry-instrument``.
    """
    try:
        # These checks are made again in install(), but there uvicorn would report what they refuse
        # with a traceback. First the variables, because OpenTelemetry may raise on a bad one as
        # soon as it is asked for its global providers.
        environment.validate()
        refuse_other_setup()
        # Before the import of the service, because the service imports OpenTelemetry, and that
        # import raises on an unknown OTEL_PROPAGATORS.
        environment.prepare()
        with no_collections():
            service = import_module(module_name)
        settings = service.Settings.load()
        service.TailSamplingSettings.load()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE_ERROR
    from services.common import server  # noqa: PLC0415  (it imports OpenTelemetry, too)

    server.serve(f"{module_name}:create_service", settings)
    return 0
