"""The way out: the HTTP session of the three OTLP exporters, and text in place of what OTLP cannot carry."""

import json
import os
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from requests import HTTPError, Response, Session

INT64 = 2**63
DEPTH = 5
"""How deep a value may be nested; what is deeper, or holds itself, is text."""


def session(signal: str) -> Session | None:
    """The session that ``TRACES``, ``METRICS`` or ``LOGS`` are sent with; None where that exporter is ``none``."""
    return None if os.environ.get(f"OTEL_{signal}_EXPORTER") == "none" else _Session()


class _Session(Session):
    def request(self, method: str, url: str | bytes, *known: Any, **options: Any) -> Response:  # noqa: ANN401  (its own)
        host = urlsplit(str(url)).hostname or ""
        # A proxy leads elsewhere: not to this machine, and not to a neighbour, whose name has no dot.
        if host == "::1" or host.startswith("127.") or not set(".:") & set(host):
            options["proxies"] = {"no_proxy": host}
        response = super().request(method, url, *known, **options)
        if 300 <= response.status_code < 400:  # noqa: PLR2004  (the exporter takes it for a success, and the batch is gone)
            raise HTTPError(f"{url!s} is elsewhere: {response.headers.get('location', 'nowhere')[:200]}")
        return response


def encodable(value: object, depth: int = DEPTH) -> Any:  # noqa: ANN401, PLR0911  (an attribute's; one for each kind)
    """Return ``value`` as both JSON and OTLP can carry it; what they cannot is text: objects, NaN, half a surrogate pair."""
    match value:
        case None | bool():
            return value
        case str():
            return value if value.isascii() else value.encode("utf-8", "xmlcharrefreplace").decode()
        case int() if -INT64 <= value < INT64:
            return int(value)
        case float():
            return float(value) if isfinite(value) else json.dumps(value)  # NaN, Infinity: as protobuf has them in JSON
        case dict() if depth:
            return {text(key): encodable(each, depth - 1) for key, each in value.items()}
        case list() | tuple() if depth:
            return [encodable(each, depth - 1) for each in value]
        case BaseException():
            return f"{type(value).__qualname__}: {text(value)}"
    return text(value)


def text(value: object) -> str:
    """Return ``value`` in words, whatever its own ``__str__`` does."""
    try:
        return str(encodable(str(value)))
    except Exception:  # noqa: BLE001  (anybody's)
        return object.__repr__(value)
