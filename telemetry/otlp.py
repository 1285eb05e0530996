"""The way out: the HTTP session of the three OTLP exporters, and text in place of what OTLP cannot carry."""

import json
import os
from traceback import format_exception_only
from typing import Any
from urllib.parse import urlsplit

from requests import HTTPError, Response, Session

INT64_DIGITS = 18
"""Whole numbers of so many digits surely fit into 64 bits."""


def session(signal: str) -> Session | None:
    """The session that ``TRACES``, ``METRICS`` or ``LOGS`` are sent with; None where that exporter is ``none``."""
    return None if os.environ.get(f"OTEL_{signal}_EXPORTER") == "none" else _Session()


class _Session(Session):
    def request(self, method: str, url: str | bytes, *known: Any, **options: Any) -> Response:  # noqa: ANN401  (its own)
        host = urlsplit(str(url)).hostname or ""
        # A proxy leads elsewhere: not to this machine, and not to a neighbour, whose name has no dot.
        self.trust_env = "." in host and not host.startswith("127.")
        response = super().request(method, url, *known, **options)
        if response.is_redirect:  # the exporter takes it for a success, and the batch would be gone
            raise HTTPError(f"{url!s} is elsewhere: {response.headers['location'][:200]}")
        return response


def encodable(value: object) -> Any:  # noqa: ANN401  (an attribute's)
    """Return ``value`` as both JSON and OTLP can carry it; what they cannot is text: objects, NaN, half a surrogate pair."""
    try:
        text = json.dumps(value, default=_text, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # odd keys, or something that holds itself
        text = json.dumps(_text(value), ensure_ascii=False)
    spelled = text.encode("utf-8", "xmlcharrefreplace")
    return json.loads(spelled, parse_constant=str, parse_int=lambda each: int(each) if len(each) <= INT64_DIGITS else each)


def _text(value: object) -> str:
    try:
        return "".join(format_exception_only(value)).strip() if isinstance(value, BaseException) else str(value)
    except Exception:  # noqa: BLE001  (somebody's __str__)
        return object.__repr__(value)
