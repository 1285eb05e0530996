"""OTLP as a service without any redaction would send it: the same texts in every place that has room for one."""

import secrets
import time
from collections.abc import Iterable
from typing import Any

from tests.security.canaries import Canaries


def everything(canaries: Canaries, texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A request for each signal, by its path. The clean order id is in its own attribute, the clean trace id is the trace's."""
    now, said = str(time.time_ns()), list(texts)
    text = " | ".join(said)
    pairs = [pair(f"text.{number}", each) for number, each in enumerate(said)]
    pairs += [{"key": "number", "value": {"intValue": each}} for each in said if each.isdecimal()]
    pairs += [pair("order.id", canaries.clean["order"]), pair("amount", canaries.clean["amount"])]
    resource = {
        "attributes": [
            pair("service.name", "outspoken"),
            pair("service.instance.id", "one"),
            *pairs,
        ]
    }
    ids = {"traceId": canaries.clean["trace"], "spanId": secrets.token_hex(8)}
    event = {"timeUnixNano": now, "name": text, "attributes": pairs}
    span = {
        **ids,
        "startTimeUnixNano": now,
        "endTimeUnixNano": now,
        "name": text,
        "kind": 2,
        "attributes": pairs,
    }
    span |= {"events": [event], "status": {"code": 2, "message": text}}
    line = {
        **ids,
        "timeUnixNano": now,
        "body": {"stringValue": text},
        "attributes": pairs,
        "severityNumber": 9,
    }
    deep = {**line, "body": {"kvlistValue": {"values": pairs}}}
    gauge = {
        "name": "canary.gauge",
        "gauge": {"dataPoints": [{"timeUnixNano": now, "asDouble": 1.0, "attributes": pairs}]},
    }
    return {
        "/v1/traces": {
            "resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]
        },
        "/v1/logs": {
            "resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [line, deep]}]}]
        },
        "/v1/metrics": {
            "resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [gauge]}]}]
        },
    }


def pair(key: str, value: str) -> dict[str, Any]:
    """An attribute."""
    return {"key": key, "value": {"stringValue": value}}
