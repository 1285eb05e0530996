"""The services of one trace: what each has sent, and the attributes of its resource."""

from collections import Counter
from dataclasses import dataclass

from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.service_classes import trace_service_classes
from three_pillar_demo.web.waterfall import resource_key, sorted_pairs
from three_pillar_demo.web.waterfall_row import Pairs


@dataclass(frozen=True)
class TraceService:
    """One resource that has sent spans or log records of a trace.

    ``contents`` says how much, and by which instrumentation scopes: ``2 spans, 1 log line;
    opentelemetry.instrumentation.flask 0.50b0``. ``attributes`` are those of the resource, and
    ``key`` tells it apart from other resources.
    """

    name: str
    css_class: str
    contents: str
    attributes: Pairs
    key: str


def trace_services(view: TraceView) -> list[TraceService]:
    """Return the services of a trace, one entry for each distinct resource.

    Records without a resource, such as those from Loki, count for the resource of their service.
    """
    css_classes = trace_service_classes(view)
    resources: dict[str, Pairs] = {}
    counts: dict[str, Counter[str]] = {}
    scopes: dict[str, dict[str, None]] = {}
    names: dict[str, str] = {}
    key_by_service: dict[str, str] = {}
    records: list[Span | LogRecord] = [*view.spans, *view.logs]
    for record in records:
        key = _key(record, key_by_service)
        if key not in names:
            names[key] = record.service
            resources[key] = sorted_pairs(record.resource)
            counts[key] = Counter()
            scopes[key] = {}
            key_by_service.setdefault(record.service, key)
        counts[key]["span" if isinstance(record, Span) else "log line"] += 1
        scope = f"{record.scope.name} {record.scope.version}".strip()
        if scope:
            scopes[key][scope] = None
    return [
        TraceService(
            name, css_classes[name], _contents(counts[key], scopes[key]), resources[key], key
        )
        for key, name in names.items()
    ]


def _key(record: Span | LogRecord, key_by_service: dict[str, str]) -> str:
    """Return what tells the resource of ``record`` apart from others."""
    if not record.resource and record.service in key_by_service:
        return key_by_service[record.service]
    return resource_key(record)


def _contents(counts: Counter[str], scopes: dict[str, None]) -> str:
    parts = [f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items()]
    return "; ".join([", ".join(parts), *([", ".join(scopes)] if scopes else [])])
