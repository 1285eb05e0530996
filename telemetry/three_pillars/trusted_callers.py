"""Whom to believe: an inside caller's trace and baggage go on; an outside one's end here, and the new trace links to theirs."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from opentelemetry.context import Context
from opentelemetry.trace import Span, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

CARRIED = frozenset({b"traceparent", b"tracestate", b"baggage"})
OUTSIDE = "telemetry.outside"
"""In the scope of an outside request: its ``traceparent``s."""

Headers = Sequence[tuple[bytes, bytes]]


def networks(inside: str) -> str:
    """Return ``inside`` if ``Trust`` can read it; raises ValueError where it cannot."""
    Trust(inside)
    return inside


class Trust:
    """Who is ``inside``: addresses and networks, comma-separated; ``*`` is everybody, and by default it is nobody."""

    def __init__(self, inside: str = "") -> None:
        """Raises ValueError for what is no network."""
        self.everybody = inside.strip() == "*"
        self.networks = (
            []
            if self.everybody
            else [ip_network(each.strip()) for each in inside.split(",") if each.strip()]
        )
        self.holds = lru_cache(1024)(self._holds)

    def of(self, scope: Scope, headers: Headers) -> tuple[Headers, list[bytes]]:
        """Return the headers that may be believed, and each ``traceparent`` that may not."""
        told = [] if self.everybody else [name for name, _ in headers if name.lower() in CARRIED]
        if not told or self.holds((scope.get("client") or ("",))[0]):
            return headers, []
        kept = [(name, value) for name, value in headers if name.lower() not in CARRIED]
        return kept, [value for name, value in headers if name.lower() == b"traceparent"]

    def _holds(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:  # a socket of the file system has no address
            return False
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        return any(address in network for network in self.networks)


def link(span: Span, scope: Scope) -> None:
    """Link ``span`` to the outside trace, if there is exactly one; its ``tracestate`` could say anything and stays out."""
    told = scope.get(OUTSIDE) or []
    if span.is_recording() and len(told) == 1:
        carrier = {"traceparent": told[0].decode("latin-1")}
        context = get_current_span(
            TraceContextTextMapPropagator().extract(carrier, Context())
        ).get_span_context()
        if context.is_valid:
            span.add_link(context)
