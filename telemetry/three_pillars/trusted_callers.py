"""The callers whose trace context is trusted: only their traces and baggage are continued here.

A request of any other caller begins a new trace, which links to the trace that the caller named.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from opentelemetry.context import Context
from opentelemetry.trace import Span, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

CONTEXT_HEADERS = frozenset({b"traceparent", b"tracestate", b"baggage"})

UNTRUSTED_TRACEPARENTS = "three_pillars.untrusted_traceparents"
"""The key, in the scope of a request, of the ``traceparent`` headers that were not trusted."""

Headers = Sequence[tuple[bytes, bytes]]


def check_networks(trusted_networks: str) -> str:
    """Return ``trusted_networks`` unchanged; for settings that are validated at the start.

    Raises:
        ValueError: ``TrustedCallers`` cannot read it.
    """
    TrustedCallers(trusted_networks)
    return trusted_networks


class TrustedCallers:
    """Callers with an address in ``trusted_networks``: addresses and networks, comma-separated.

    ``*`` is every caller, and the default is none.
    """

    def __init__(self, trusted_networks: str = "") -> None:
        """Read the networks.

        Raises:
            ValueError: An item is neither an address nor a network.
        """
        self.trusts_all = trusted_networks.strip() == "*"
        self.networks = []
        if not self.trusts_all:
            items = [item.strip() for item in trusted_networks.split(",")]
            self.networks = [ip_network(item) for item in items if item]
        # Parsing an address costs more than the rest of a call, and a service has few callers.
        self._is_trusted = lru_cache(1024)(self._is_in_networks)

    def split_headers(self, scope: Scope, headers: Headers) -> tuple[Headers, list[bytes]]:
        """Return the headers to trust, and the ``traceparent`` values that are not trusted."""
        if self.trusts_all or not any(name.lower() in CONTEXT_HEADERS for name, _ in headers):
            return headers, []
        host = (scope.get("client") or ("",))[0]
        if self._is_trusted(host):
            return headers, []
        kept = [(name, value) for name, value in headers if name.lower() not in CONTEXT_HEADERS]
        return kept, [value for name, value in headers if name.lower() == b"traceparent"]

    def _is_in_networks(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:  # a caller over a Unix socket has no address
            return False
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        return any(address in network for network in self.networks)


def link_untrusted_trace(span: Span, scope: Scope) -> None:
    """Link ``span`` to the trace that an untrusted caller named, if it named exactly one.

    The link has ids alone: the caller's ``tracestate`` could say anything.
    """
    traceparents = scope.get(UNTRUSTED_TRACEPARENTS) or []
    if not span.is_recording() or len(traceparents) != 1:
        return
    carrier = {"traceparent": traceparents[0].decode("latin-1")}
    extracted = TraceContextTextMapPropagator().extract(carrier, Context())
    span_context = get_current_span(extracted).get_span_context()
    if span_context.is_valid:
        span.add_link(span_context)
