"""What Grafana does with a link's expression: puts values in, takes a line's field, reads a time."""

import re
import time
from typing import NoReturn
from urllib.parse import unquote

from three_pillar_demo.query.interface import LogRecord

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class BrokenLinkError(Exception):
    """A link is not configured, or leads somewhere else; the text says which and where."""


def fill(expression: str, known: dict[str, str]) -> str:
    """Put values where Grafana would; what is left over it would not know either."""
    for name, value in known.items():
        expression = expression.replace(f"${{{name}}}", value).replace(f"${name}", value)
    if left := re.search(r"\$\{?[a-z_]\w*", expression):
        raise BrokenLinkError(f"{left[0]} means nothing here: {unquote(expression)}")
    return expression


def derived(link: dict[str, str], line: LogRecord) -> str:
    """What Grafana takes from a line for a derived field."""
    if link.get("matcherType") == "label":
        value = next(
            (value for key, value in line.fields.items() if re.search(link["matcherRegex"], key)),
            "",
        )
    else:
        found = re.search(link["matcherRegex"], line.body)
        value = found[1] if found else ""
    return value or nothing(f"value for {link['name']} on {line.body!r}")


def nothing(what: str) -> NoReturn:
    """Give up, because there is no ``what``."""
    raise BrokenLinkError(f"there is no {what}")


def seconds(shift: str) -> float:
    """As Grafana writes it: 1m, -15m."""
    return float(shift[:-1]) * UNITS[shift[-1]]


def moment(said: str) -> float:
    """One end of a time range: now, now-24h, or milliseconds since the epoch."""
    return (
        time.time() + (seconds(said[3:]) if said != "now" else 0)
        if said.startswith("now")
        else float(said) / 1000
    )


def just_after(then: float) -> float:
    """Half a minute later, when the figures include it; never later than now."""
    return min(then + 30, time.time())
