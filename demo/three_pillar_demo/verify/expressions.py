"""Evaluate the variables, derived fields and times in Grafana's links as Grafana does."""

import re
import time
from typing import NoReturn
from urllib.parse import unquote

from three_pillar_demo.query.interface import LogRecord

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""The seconds in each unit of a time shift."""
METRIC_DELAY_S = 30.0
"""Seconds after the end of a request at which the metrics certainly include it."""


class BrokenLinkError(Exception):
    """A link is not configured, or leads to wrong telemetry; the text says what is wrong."""


def fill(expression: str, variables: dict[str, str]) -> str:
    """Return ``expression`` with each ``$name`` and ``${name}`` replaced by its value.

    Raises:
        BrokenLinkError: The expression has a variable that is not in ``variables``.
    """
    for name, value in variables.items():
        expression = expression.replace(f"${{{name}}}", value).replace(f"${name}", value)
    unknown = re.search(r"\$\{?[a-z_]\w*", expression)
    if unknown:
        raise BrokenLinkError(f"unknown variable {unknown[0]} in {unquote(expression)}")
    return expression


def derived_value(link: dict[str, str], record: LogRecord) -> str:
    """Return the value that a derived field of Loki's data source extracts from one log record.

    ``link`` is the configuration of the derived field.

    Raises:
        BrokenLinkError: The pattern of the derived field matches nothing in the log record.
    """
    pattern = link["matcherRegex"]
    if link.get("matcherType") == "label":
        values = [value for key, value in record.fields.items() if re.search(pattern, key)]
        value = values[0] if values else ""
    else:
        match = re.search(pattern, record.body)
        value = match[1] if match else ""
    return value or raise_missing(f"value for {link['name']} on {record.body!r}")


def raise_missing(what: str) -> NoReturn:
    """Raise a BrokenLinkError that says that there is no ``what``."""
    raise BrokenLinkError(f"there is no {what}")


def shift_seconds(shift: str) -> float:
    """Convert a time shift in Grafana's notation to seconds: ``1m`` is 60, ``-15m`` is -900."""
    return float(shift[:-1]) * UNIT_SECONDS[shift[-1]]


def time_bound(text: str) -> float:
    """Convert the start or end of a Grafana time range to seconds since the epoch.

    ``text`` is ``now``, a relative time such as ``now-24h``, or milliseconds since the epoch.
    """
    if text == "now":
        return time.time()
    if text.startswith("now"):
        return time.time() + shift_seconds(text.removeprefix("now"))
    return float(text) / 1000


def when_counted(request_end: float) -> float:
    """Return the time for a PromQL query whose result must include a certain request.

    The time is ``METRIC_DELAY_S`` after ``request_end``, but never later than now. Both times are
    in seconds since the epoch.
    """
    return min(request_end + METRIC_DELAY_S, time.time())
