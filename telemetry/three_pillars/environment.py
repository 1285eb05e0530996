"""Checks the ``OTEL_*`` variables: a value is obeyed, or refused with a line that says why.

The SDK ignores many values that it does not know, some of them with a traceback. This module
imports nothing of OpenTelemetry, so that a program can check its variables before OpenTelemetry
reads them.
"""

import os

from .settings import ConfigurationError
from .variables import DEFAULT_BATCH_SIZE, IN_CODE, ONE_LIST, OpenTelemetryVariables, refusal

PREFIX = "OTEL_"
STABILITY_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"

REFUSED_SUFFIXES = {
    "_EXCLUDED_URLS": ONE_LIST,
    "_CONFIGURATOR": IN_CODE,
    "_PROVIDER": IN_CODE,
}
"""Ends of ``OTEL_PYTHON_*`` variables; each instrumentation and each signal has its own."""


def prepare() -> OpenTelemetryVariables:
    """Validate the ``OTEL_*`` variables, and rewrite them as OpenTelemetry needs to read them.

    ``install()`` calls this. A program whose ``main`` turns refusals into one line calls it
    before it imports FastAPI: OTEL_PROPAGATORS and OTEL_PYTHON_CONTEXT are read while
    OpenTelemetry is imported, which FastAPI does, and that import raises on an unknown value.

    Raises:
        ConfigurationError: Values cannot be obeyed; there is one line for each variable.
    """
    variables = validate()
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
    others = [convention for convention in chosen if convention and "http" not in convention]
    os.environ[STABILITY_OPT_IN] = ",".join(["http", *others])
    return variables


def validate() -> OpenTelemetryVariables:
    """Return the ``OTEL_*`` variables, with our defaults for those that are unset or blank.

    Raises:
        ConfigurationError: Values cannot be obeyed; there is one line for each variable.
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
    if problems:
        raise ConfigurationError(problems)
    return variables


def _names() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(PREFIX))


def _batch_problems(variables: OpenTelemetryVariables) -> list[str]:
    """Return the refusals of batches that are larger than their queue; the SDK would raise."""
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
    """Return the refusal of a variable that no field describes, or an empty list."""
    if not value:
        return []
    for suffix, allowed in REFUSED_SUFFIXES.items():
        if name.startswith("OTEL_PYTHON_") and name.endswith(suffix):
            return [refusal(name, allowed)]
    if not value.isprintable():
        return [refusal(name, "text in UTF-8, in one line")]
    return []
