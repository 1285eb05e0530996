"""Check the environment variables, ``OTEL_*`` above all, and refuse what would not take effect.

OpenTelemetry's SDK ignores many values that it does not know; for some of them it writes a
traceback. This module imports nothing of OpenTelemetry, so that a program can check its variables
before OpenTelemetry reads them.
"""

import os

from . import surroundings
from .settings import ConfigurationError
from .variables import DEFAULT_BATCH_SIZE, IN_CODE, ONE_LIST, OpenTelemetryVariables, refusal

PREFIX = "OTEL_"
STABILITY_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"

REFUSED_SUFFIXES = {
    "_EXCLUDED_URLS": ONE_LIST,
    "_CONFIGURATOR": IN_CODE,
    "_PROVIDER": IN_CODE,
}
"""Suffixes of ``OTEL_PYTHON_*`` variables that are refused, each with what is allowed instead.

Each instrumentation and each signal has its own variable with such a suffix, for example
OTEL_PYTHON_FASTAPI_EXCLUDED_URLS.
"""


def prepare() -> OpenTelemetryVariables:
    """Validate the ``OTEL_*`` variables, normalise them in ``os.environ``, and return them.

    Normalising strips the blanks around each value and removes blank variables, also those of
    ``surroundings.RULES``. It also sets OTEL_SEMCONV_STABILITY_OPT_IN so that the stable HTTP
    conventions are used.

    ``install()`` calls this function. A program whose ``main`` reports invalid variables also calls
    it, before the program imports FastAPI: FastAPI imports OpenTelemetry, and that import raises
    on an unknown OTEL_PROPAGATORS or OTEL_PYTHON_CONTEXT.

    Raises:
        ConfigurationError: Variables have invalid values; the error has one line for each invalid
            variable.
    """
    variables = validate()
    surroundings.remove_blank()
    # The SDK and the exporters read the environment themselves. They do not trim padded values,
    # nor do they all treat a blank value as unset, as the specification demands.
    for name in _names():
        value = os.environ.pop(name).strip()
        if value:
            os.environ[name] = value
    # This variable is read when the first instrumentation starts, and no parameter replaces it.
    # The old conventions put the client's Host header on metrics, so that any client could create
    # any number of series; therefore the stable HTTP conventions are always chosen.
    chosen = os.environ.get(STABILITY_OPT_IN, "").split(",")
    non_http = [convention for convention in chosen if convention and "http" not in convention]
    os.environ[STABILITY_OPT_IN] = ",".join(["http", *non_http])
    return variables


def validate() -> OpenTelemetryVariables:
    """Return the ``OTEL_*`` variables, with this library's defaults for those unset or blank.

    The variables of ``surroundings.RULES`` are checked too. ``os.environ`` is not changed.

    Raises:
        ConfigurationError: Variables have invalid values; the error has one line for each invalid
            variable.
    """
    problems: list[str] = []
    try:
        variables = OpenTelemetryVariables.load()
    except ConfigurationError as error:
        problems += error.problems
    else:
        problems += _batch_problems(variables)
    refused = {problem.partition("=")[0] for problem in problems}
    for name in _names():
        if name not in refused:
            problems += _other_problems(name, os.environ[name].strip())
    problems += surroundings.problems()
    if problems:
        raise ConfigurationError(problems)
    return variables


def _names() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(PREFIX))


def _batch_problems(variables: OpenTelemetryVariables) -> list[str]:
    """Return an error line for each batch size that is greater than the size of its queue.

    Without this check, the SDK would raise an error.
    """
    problems = []
    for processor in ("bsp", "blrp"):
        batch = f"{processor}_max_export_batch_size"
        queue = f"{processor}_max_queue_size"
        if getattr(variables, batch) > getattr(variables, queue):
            changed = batch if batch in variables.model_fields_set else queue
            problems.append(
                refusal(
                    variables.variable(changed),
                    f"a batch ({DEFAULT_BATCH_SIZE} by default) no greater than its queue (8192)",
                )
            )
    return problems


def _other_problems(name: str, value: str) -> list[str]:
    """Return a list with the error line for ``name``, or an empty list if ``value`` is allowed.

    The rules here also hold for ``OTEL_*`` variables that this library does not know:

    - An ``OTEL_PYTHON_*`` variable whose name ends in one of the ``REFUSED_SUFFIXES`` is refused.
    - A value must be printable.
    - A blank value counts as unset and is always allowed.
    """
    if not value:
        return []
    for suffix, allowed in REFUSED_SUFFIXES.items():
        if name.startswith("OTEL_PYTHON_") and name.endswith(suffix):
            return [refusal(name, allowed)]
    if not value.isprintable():
        return [refusal(name, "text in UTF-8, in one line")]
    return []
