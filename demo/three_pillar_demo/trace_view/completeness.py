"""Finds the spans, log records and exemplars of a trace that have not arrived yet."""

import ipaddress
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.view import TraceView, is_canonical

CONNECTION_ERRORS = {"ConnectError", "ConnectTimeout"}
"""Values of ``error.type`` for a call that did not reach the called service.

The called service has no span for such a call.
"""
URLS = ("url.full", "http.url")
"""The names of the span attributes with the called URL; the second is the former name."""
ADDRESSES = ("server.address", "net.peer.name")
"""The names of the span attributes with the called host; the second is the former name."""
PREFIXES_WITHOUT_SERVER = ("db.", "messaging.")
"""The beginnings of the attribute names of calls to databases and message brokers.

Such systems rarely send spans of their own.
"""
INSIDE_SUFFIXES = (".internal", ".local", ".localhost", ".lan", ".svc")
"""The last parts of host names that have no meaning outside of an organisation."""


def missing_spans(spans: Sequence[Span]) -> Iterator[str]:
    """Yield a description of each span that must exist but is not among ``spans``.

    The parent of each span must exist. For each call that reached another service of the same
    organisation, the SERVER span of that service must exist.
    """
    span_ids = {span.span_id for span in spans}
    parent_ids = {span.parent_id for span in spans}
    for span in spans:
        if span.parent_id and span.parent_id not in span_ids:
            yield f"the parent of {span.service}'s span {span.name}"
        if span.span_id not in parent_ids and _has_other_end(span):
            yield f"the span at the other end of {span.service}'s call to {callee_name(span)}"


def missing_logs(
    spans: Sequence[Span], logs: Sequence[LogRecord], *, still_arriving: bool
) -> Iterator[str]:
    """Yield a description of the log records that have not arrived.

    A service that uses the library writes a canonical log record for each SERVER span. Any other
    service writes what it likes, so once its log records are no longer ``still_arriving``, any
    record of it will do.
    """
    logged_span_ids = {record.fields.get("span_id") for record in logs if is_canonical(record)}
    with_canonical = {record.service for record in logs if is_canonical(record)}
    with_logs = {record.service for record in logs}
    without_logs = set[str]()
    for span in spans:
        if span.kind != "SERVER" or span.span_id in logged_span_ids:
            continue
        if still_arriving or span.service in with_canonical:
            yield f"{span.service}'s log line of {span.name}"
        elif span.service not in with_logs | without_logs:
            without_logs.add(span.service)
            yield f"any log line of {span.service}"


def has_all_exemplars(view: TraceView) -> bool:
    """Return True if each service with a SERVER span has an exemplar that points to the trace."""
    answered = {span.service for span in view.spans if span.kind == "SERVER"}
    with_exemplar = {exemplar.labels.get("service_name", "") for exemplar in view.exemplars}
    return answered <= with_exemplar


def callee_name(call: Span) -> str:
    """Return what a CLIENT span says about whom it called: the URL, the host or the database."""
    for name in (*URLS, *ADDRESSES, "db.system.name", "db.system"):
        if call.attributes.get(name):
            return printable(call.attributes[name])
    return "another service"


def _has_other_end(span: Span) -> bool:
    """Return True if ``span`` is a call that another service must have recorded as well."""
    if span.kind != "CLIENT" or span.attributes.get("error.type") in CONNECTION_ERRORS:
        return False
    if any(name.startswith(PREFIXES_WITHOUT_SERVER) for name in span.attributes):
        return False
    return _is_inside(_called_host(span))


def _called_host(call: Span) -> str:
    for name in URLS:
        try:
            host = urlsplit(str(call.attributes.get(name, ""))).hostname
        except ValueError:  # a URL with an invalid port or IPv6 address
            continue
        if host:
            return host
    addresses = [str(call.attributes[name]) for name in ADDRESSES if name in call.attributes]
    return addresses[0] if addresses else ""


def _is_inside(host: str) -> bool:
    """Return True unless ``host`` is a public name or address, which is another organisation's."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(INSIDE_SUFFIXES)
    return address.is_private
