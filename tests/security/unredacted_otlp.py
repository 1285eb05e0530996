"""OTLP requests of a service that does not redact: they have texts in every field for text."""

import secrets
import time
from collections.abc import Iterable
from typing import Any

from tests.security.canaries import Canaries


def otlp_requests(canaries: Canaries, texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return one OTLP request in JSON for each signal, by its URL path.

    Every field for text contains ``texts``. The clean order id of ``canaries`` is in the attribute
    ``order.id``, and its clean trace id is the id of the trace.
    """
    texts = list(texts)
    now = str(time.time_ns())
    attributes = _attributes(canaries, texts)
    joined_texts = " | ".join(texts)
    ids = {"traceId": canaries.clean["trace"], "spanId": secrets.token_hex(8)}
    resource = {
        "attributes": [
            attribute("service.name", "outspoken"),
            attribute("service.instance.id", "one"),
            *attributes,
        ]
    }
    span = {
        **ids,
        "startTimeUnixNano": now,
        "endTimeUnixNano": now,
        "name": joined_texts,
        "kind": 2,
        "attributes": attributes,
        "events": [{"timeUnixNano": now, "name": joined_texts, "attributes": attributes}],
        "status": {"code": 2, "message": joined_texts},
    }
    record = {
        **ids,
        "timeUnixNano": now,
        "body": {"stringValue": joined_texts},
        "attributes": attributes,
        "severityNumber": 9,
    }
    nested_record = {**record, "body": {"kvlistValue": {"values": attributes}}}
    point = {"timeUnixNano": now, "asDouble": 1.0, "attributes": attributes}
    gauge = {"name": "canary.gauge", "gauge": {"dataPoints": [point]}}
    scope_spans = [{"spans": [span]}]
    scope_logs = [{"logRecords": [record, nested_record]}]
    scope_metrics = [{"metrics": [gauge]}]
    return {
        "/v1/traces": {"resourceSpans": [{"resource": resource, "scopeSpans": scope_spans}]},
        "/v1/logs": {"resourceLogs": [{"resource": resource, "scopeLogs": scope_logs}]},
        "/v1/metrics": {"resourceMetrics": [{"resource": resource, "scopeMetrics": scope_metrics}]},
    }


def _attributes(canaries: Canaries, texts: list[str]) -> list[dict[str, Any]]:
    attributes = [attribute(f"text.{number}", text) for number, text in enumerate(texts)]
    numbers = [text for text in texts if text.isdecimal()]
    attributes += [{"key": "number", "value": {"intValue": number}} for number in numbers]
    attributes.append(attribute("order.id", canaries.clean["order"]))
    attributes.append(attribute("amount", canaries.clean["amount"]))
    return attributes


def attribute(key: str, value: str) -> dict[str, Any]:
    """Return an attribute with a text value in the JSON form of OTLP."""
    return {"key": key, "value": {"stringValue": value}}
