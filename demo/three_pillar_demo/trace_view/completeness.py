"""Finds the spans, log records and exemplars of a trace that have not arrived yet.

Nothing is called missing that only the conventions of the demo's own services promise. A service
that is not known to write canonical log records lacks none, and a callee that is not known to send
spans lacks none.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.trace_view.calls import (
    called_address,
    called_host,
    callee_name,
    has_no_server_span,
)
from three_pillar_demo.trace_view.names import service_text, span_text
from three_pillar_demo.trace_view.view import TraceView, is_canonical

INSIDE_SUFFIXES = (".internal", ".local", ".localhost", ".lan", ".svc")
"""The last parts of host names that have no meaning outside of an organisation."""
REQUEST_KINDS = ("SERVER", "CONSUMER")
"""The kinds of spans whose parent is a span of the caller."""


@dataclass(frozen=True)
class KnownSenders:
    """What is known about the services of a system, from other traces than the one that is shown.

    Attributes:
        with_canonical: The services that have written a canonical log record.
        with_spans: The services that have sent spans.
        addresses: The addresses of services that have sent spans; see ``called_address``.
    """

    with_canonical: frozenset[str] = frozenset()
    with_spans: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()


NOTHING_KNOWN = KnownSenders()


def missing_spans(
    spans: Sequence[Span], known: KnownSenders = NOTHING_KNOWN, *, still_arriving: bool = False
) -> Iterator[str]:
    """Yield a description of each span that must exist but is not among ``spans``.

    The parent of each span must exist, except that of the request with which the trace begins: its
    caller may send no spans, and is awaited only while spans are ``still_arriving``. A call of a
    service that is known to send spans must have that service's span below it.
    """
    span_ids = {span.span_id for span in spans}
    orphans = [span for span in spans if span.parent_id and span.parent_id not in span_ids]
    root_count = sum(not span.parent_id for span in spans) + len(orphans)
    for span in orphans:
        begins_trace = root_count == 1 and span.kind in REQUEST_KINDS
        if still_arriving or not begins_trace:
            yield f"the parent of {service_text(span.service)}'s span {span_text(span.name)}"
    for call in unmatched_calls(spans):
        if _is_known(call, spans, known):
            caller = service_text(call.service)
            yield f"the span at the other end of {caller}'s call to {callee_name(call)}"


def unmatched_calls(spans: Sequence[Span]) -> list[Span]:
    """Return the calls of other services of the same organisation that have no span below them.

    Calls of databases and message brokers, and calls that did not arrive, are left out.
    """
    parent_ids = {span.parent_id for span in spans}
    return [
        span
        for span in spans
        if span.kind == "CLIENT"
        and span.span_id not in parent_ids
        and not has_no_server_span(span)
        and _is_inside(called_host(span))
    ]


def answered_addresses(spans: Sequence[Span]) -> frozenset[str]:
    """Return the addresses of the calls among ``spans`` that have a SERVER span below them."""
    answered = {span.parent_id for span in spans if span.kind == "SERVER"}
    calls = (span for span in spans if span.kind == "CLIENT" and span.span_id in answered)
    return frozenset(called_address(call) for call in calls) - {""}


def called_services(call: Span) -> set[str]:
    """Return the names that the called service may have, according to ``call``.

    They are the attribute ``peer.service``, the host, and the first part of the host's name, as
    ``stock`` of ``stock.shop.svc.cluster.local``.
    """
    host = called_host(call)
    names = {str(call.attributes.get("peer.service", "")), host, host.partition(".")[0]}
    return names - {"", "localhost"}


def lacks_canonical_record(spans: Sequence[Span], logs: Sequence[LogRecord]) -> Iterator[Span]:
    """Yield the SERVER spans without a canonical log record."""
    logged_span_ids = {record.fields.get("span_id") for record in logs if is_canonical(record)}
    for span in spans:
        if span.kind == "SERVER" and span.span_id not in logged_span_ids:
            yield span


def missing_logs(
    spans: Sequence[Span], logs: Sequence[LogRecord], known: KnownSenders = NOTHING_KNOWN
) -> Iterator[str]:
    """Yield a description of the canonical log records that have not arrived.

    A service that writes such records writes one for each SERVER span. It is known by those in
    ``logs`` and in ``known``; any other service writes what it likes.
    """
    with_canonical = {record.service for record in logs if is_canonical(record)}
    for span in lacks_canonical_record(spans, logs):
        if span.service in with_canonical | known.with_canonical:
            yield f"{service_text(span.service)}'s log line of {span_text(span.name)}"


def counted(parts: Sequence[str], limit: int) -> list[str]:
    """Return the first ``limit`` different ``parts``, each with how often it occurs if not once.

    A last line says how many parts are left out, if there are more.
    """
    counts = Counter(parts)
    named = list(counts)[:limit]
    lines = [part if counts[part] == 1 else f"{part} ({counts[part]:,} times)" for part in named]
    left_out = len(parts) - sum(counts[part] for part in named)
    return [*lines, f"{left_out:,} more"] if left_out else lines


def has_all_exemplars(view: TraceView) -> bool:
    """Return True if each service with a SERVER span has an exemplar that points to the trace."""
    answered = {span.service for span in view.spans if span.kind == "SERVER"}
    with_exemplar = {exemplar.labels.get("service_name", "") for exemplar in view.exemplars}
    return answered <= with_exemplar


def _is_known(call: Span, spans: Sequence[Span], known: KnownSenders) -> bool:
    """Return True if the service that ``call`` has called is known to send spans."""
    if called_address(call) in known.addresses | answered_addresses(spans):
        return True
    senders = known.with_spans | {span.service for span in spans}
    return bool(called_services(call) & senders)


def _is_inside(host: str) -> bool:
    """Return True unless ``host`` is a public name or address, which is another organisation's.

    An unknown host is not inside.
    """
    if not host:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(INSIDE_SUFFIXES)
    return address.is_private
