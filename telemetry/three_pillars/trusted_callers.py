"""Decide by IP address which callers' trace context is trusted.

Only the traces and the baggage of trusted callers are continued. A request of any other caller
begins a new trace, which links to the trace that the caller named.
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
"""Key in the ASGI scope for the list of ``traceparent`` values that an untrusted caller sent.

The list is empty if the caller is trusted or sent none.
"""

Headers = Sequence[tuple[bytes, bytes]]


def check_networks(trusted_networks: str) -> str:
    """Validate ``trusted_networks``, the argument of ``TrustedCallers``, and return it unchanged.

    Raises:
        ValueError: An item is neither an address nor a network.
    """
    TrustedCallers(trusted_networks)
    return trusted_networks


class TrustedCallers:
    """The set of callers whose IP address is in ``trusted_networks``.

    ``trusted_networks`` is a comma-separated list of addresses and networks, or ``*`` for every
    caller. The default is no caller.
    """

    def __init__(self, trusted_networks: str = "") -> None:
        """Parse the networks.

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
        """Return the headers to use, and the list of untrusted ``traceparent`` values.

        For a trusted caller, return all headers and an empty list. For any other caller, return the
        headers without ``traceparent``, ``tracestate`` and ``baggage``, and the list of the removed
        ``traceparent`` values.
        """
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
    """Add a link from ``span`` to the trace that an untrusted caller named.

    If the caller sent no valid ``traceparent``, or several, no link is added. The link has the
    trace id and span id of the caller. It leaves out ``tracestate``, which may hold any text.
    """
    traceparents = scope.get(UNTRUSTED_TRACEPARENTS) or []
    if not span.is_recording() or len(traceparents) != 1:
        return
    carrier = {"traceparent": traceparents[0].decode("latin-1")}
    extracted = TraceContextTextMapPropagator().extract(carrier, Context())
    span_context = get_current_span(extracted).get_span_context()
    if span_context.is_valid:
        span.add_link(span_context)
