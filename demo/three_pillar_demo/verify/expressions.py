"""Evaluate the expressions of Grafana's links as Grafana does: variables, fields, times."""

import re
import time
from typing import NoReturn
from urllib.parse import unquote

from three_pillar_demo.query.interface import LogRecord

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
METRIC_DELAY_S = 30.0
"""The time after a request at which the metrics certainly include it."""


class BrokenLinkError(Exception):
    """A link is not configured or leads to something else; the text says which and where."""


def fill(expression: str, variables: dict[str, str]) -> str:
    """Replace variables by their values.

    Raises:
        BrokenLinkError: A variable is left over; Grafana would not know it either.
    """
    for name, value in variables.items():
        expression = expression.replace(f"${{{name}}}", value).replace(f"${name}", value)
    unknown = re.search(r"\$\{?[a-z_]\w*", expression)
    if unknown:
        raise BrokenLinkError(f"unknown variable {unknown[0]} in {unquote(expression)}")
    return expression


def derived_value(link: dict[str, str], record: LogRecord) -> str:
    """Return the value of a derived field of Loki's data source for one log record.

    Raises:
        BrokenLinkError: The log record has no such value.
    """
    pattern = link["matcherRegex"]
    if link.get("matcherType") == "label":
        values = [value for key, value in record.fields.items() if re.search(pattern, key)]
        value = values[0] if values else ""
    else:
        match = re.search(pattern, record.body)
        value = match[1] if match else ""
    return value or fail_without(f"value for {link['name']} on {record.body!r}")


def fail_without(what: str) -> NoReturn:
    """Raise BrokenLinkError because ``what`` does not exist."""
    raise BrokenLinkError(f"there is no {what}")


def shift_seconds(shift: str) -> float:
    """Return the seconds of a time shift as Grafana writes it: ``1m``, ``-15m``."""
    return float(shift[:-1]) * UNIT_SECONDS[shift[-1]]


def time_bound(text: str) -> float:
    """Return one end of a time range in seconds since the epoch.

    ``text`` is ``now``, ``now-24h``, or milliseconds since the epoch.
    """
    if text == "now":
        return time.time()
    if text.startswith("now"):
        return time.time() + shift_seconds(text.removeprefix("now"))
    return float(text) / 1000


def when_counted(request_end: float) -> float:
    """Return a time at which the metrics include the request, and that is not in the future."""
    return min(request_end + METRIC_DELAY_S, time.time())
