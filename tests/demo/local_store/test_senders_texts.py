"""Tests that no text of a sender reaches the file, a response or the log with a secret in it."""

import logging
import re
import time
from typing import Any

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.demo.local_store.messages import (
    SCOPE,
    counter,
    gauge,
    log_record,
    log_request,
    metric_request,
    number_point,
    span,
    trace_request,
)
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.local_store.values import MAX_NAME, MAX_SHOWN

NOW = time.time_ns()
CARD = "4111 1111 1111 1111"
SECRET = f"a\n\x1b[31m {CARD} user@example.com"
ACROSS = "x " * (MAX_NAME // 2 - 14) + CARD + " y" * MAX_NAME
"""A name that is cut within the card number."""
PARTS_OF_SECRETS = re.compile(r"(?<![0-9])4111(?![0-9])|user@|user_example")
"""What is left of a secret that is redacted in part. A time of 19 digits may contain 4111 too."""
TABLES = ("span", "log", "series", "point", "source", "batch")


def pairs(text: str) -> list[KeyValue]:
    """Return attributes with ``text`` in keys and values of every type that has text."""
    value = AnyValue(string_value=text)
    members = KeyValueList(values=[KeyValue(key=text, value=value)])
    return [
        KeyValue(key=f"key {text}", value=value),
        KeyValue(key="list", value=AnyValue(array_value=ArrayValue(values=[value]))),
        KeyValue(key="object", value=AnyValue(kvlist_value=members)),
    ]


def traces(text: str) -> Message:
    """Return a trace request that has ``text`` in every field."""
    ids: dict[str, Any] = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    event = Span.Event(name=text, time_unix_nano=NOW, attributes=pairs(text))
    link = Span.Link(trace_state=text, attributes=pairs(text), **ids)
    message = span(text, trace_state=text, attributes=pairs(text), events=[event], links=[link])
    message.status.CopyFrom(Status(message=text))
    request = trace_request(message)
    resource_spans = request.resource_spans[0]
    resource_spans.schema_url = text
    resource_spans.scope_spans[0].schema_url = text
    _fill_sender(resource_spans.resource, resource_spans.scope_spans[0].scope, text)
    return request


def logs(text: str) -> Message:
    """Return a log request that has ``text`` in every field."""
    record = log_record(text, severity_text=text, event_name=text, attributes=pairs(text))
    request = log_request(record)
    resource_logs = request.resource_logs[0]
    _fill_sender(resource_logs.resource, resource_logs.scope_logs[0].scope, text)
    return request


def metrics(text: str) -> Message:
    """Return a metric request that has ``text`` in every field, with valid and invalid points."""
    exemplar = Exemplar(as_double=1, time_unix_nano=NOW, filtered_attributes=pairs(text))
    point = number_point(1, attributes=pairs(text), exemplars=[exemplar])
    stored = counter(text, point)
    stored.unit = text
    stored.description = text
    stored.metadata.extend(pairs(text))
    request = metric_request(
        stored,
        gauge(text, NumberDataPoint(time_unix_nano=NOW)),
        Metric(name=text),
    )
    resource_metrics = request.resource_metrics[0]
    _fill_sender(resource_metrics.resource, resource_metrics.scope_metrics[0].scope, text)
    return request


def _fill_sender(resource: Any, scope: Any, text: str) -> None:  # noqa: ANN401  (generated code)
    scope.CopyFrom(SCOPE)
    scope.name = scope.version = text
    scope.attributes.extend(pairs(text))
    for attribute in resource.attributes:
        attribute.value.string_value = text
    resource.attributes.extend(pairs(text))


REQUESTS = {"traces": traces, "logs": logs, "metrics": metrics}


@pytest.mark.parametrize("text", [SECRET, ACROSS], ids=["short", "across a cut"])
@pytest.mark.parametrize("signal_name", REQUESTS)
def test_no_field_keeps_a_secret(
    in_memory_store: InMemoryStore, caplog: pytest.LogCaptureFixture, signal_name: str, text: str
) -> None:
    """A card number or address in any text of a request is in no table, response or log line."""
    with caplog.at_level(logging.INFO):
        response = in_memory_store.send(signal_name, REQUESTS[signal_name](text))
    assert response.status_code == 200
    stored = [row for table in TABLES for row in in_memory_store.rows(f"SELECT * FROM {table}")]  # noqa: S608  (of constants)
    assert len(stored) >= 3
    for place in (str(stored), response.content.decode(errors="replace"), caplog.text):
        assert not PARTS_OF_SECRETS.search(place), place


def test_names_in_reasons_are_one_short_line(
    in_memory_store: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The name of a rejected metric cannot begin a line of the log, nor change its colours."""
    with caplog.at_level(logging.WARNING):
        in_memory_store.send("metrics", metric_request(Metric(name=f"{SECRET}\u2028é" + "x" * 500)))
    (record,) = caplog.records
    name = record.message.removeprefix("rejected telemetry: 1 x metric ")
    name = name.removesuffix(": no data (metrics)")
    assert name.startswith(r"a\n\x1b[31m [card] [email]\u2028éxxx")
    assert len(name) == MAX_SHOWN
