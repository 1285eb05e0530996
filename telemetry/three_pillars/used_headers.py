"""The request headers that OpenTelemetry's instrumentation reads.

The instrumentation looks for each of its headers by decoding the names of all headers, nine times
for a request. With fewer headers it finds the same ones in less time. The application gets all
headers: ``RequestRecorderMiddleware`` restores them.
"""

import os
from collections.abc import Callable, Sequence

from opentelemetry import propagate
from opentelemetry.propagators.textmap import TextMapPropagator

from .trusted_callers import CONTEXT_HEADERS

Headers = Sequence[tuple[bytes, bytes]]

USED_HEADERS = CONTEXT_HEADERS | {b"user-agent"}
"""The lower-case names of the headers that the instrumentation reads, with the stable conventions
and the propagators ``tracecontext`` and ``baggage``."""

CAPTURED_HEADERS = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST"
"""The variable that names further headers, which become attributes of the span."""


def header_selector(*, only_used: bool) -> Callable[[Headers], Headers]:
    """Return a function that returns those of its headers that the instrumentation reads.

    The function returns all headers if ``only_used`` is false, if a variable asks for some as
    attributes of the span, or while the application has set a propagator that may read others.
    """
    if not only_used or os.environ.get(CAPTURED_HEADERS):
        return _all_headers
    return _Selector().select


def _all_headers(headers: Headers) -> Headers:
    return headers


class _Selector:
    """Selects the headers that the instrumentation and the global propagator read."""

    def __init__(self) -> None:
        self._propagator: TextMapPropagator | None = None
        self._is_known = False

    def select(self, headers: Headers) -> Headers:
        propagator = propagate.get_global_textmap()
        if propagator is not self._propagator:
            # The application may set another one at any time.
            fields = {name.lower().encode() for name in propagator.fields}
            self._is_known = fields <= CONTEXT_HEADERS
            self._propagator = propagator
        if not self._is_known:
            return headers
        return [header for header in headers if header[0].lower() in USED_HEADERS]
