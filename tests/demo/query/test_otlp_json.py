"""Tests of the conversion of Tempo's JSON, as far as the recorded responses do not contain it."""

import base64
from typing import Any

import pytest

from three_pillar_demo.query.interface import Scope, SpanEvent, SpanLink
from three_pillar_demo.query.otlp_json import exception_text, spans_of

TRACE_ID = bytes(range(16))
SPAN_ID = bytes(range(8))
ATTRIBUTES = [{"key": "n", "value": {"intValue": "1"}}]


def base64_of(value: bytes) -> str:
    """Return bytes in base64, as Tempo's JSON has ids."""
    return base64.b64encode(value).decode()


def test_all_fields_of_a_span_are_converted() -> None:
    """Links, events, trace state, flags, dropped counts, resource and scope are converted."""
    span: dict[str, Any] = {
        "spanId": base64_of(SPAN_ID),
        "name": "work",
        "startTimeUnixNano": "5",
        "endTimeUnixNano": "7",
        "traceState": "a=b",
        "flags": 257,
        "droppedAttributesCount": 1,
        "droppedEventsCount": 2,
        "droppedLinksCount": 3,
        "events": [{"timeUnixNano": "6", "name": "e", "attributes": ATTRIBUTES}],
        "links": [
            {
                "traceId": base64_of(TRACE_ID),
                "spanId": base64_of(SPAN_ID),
                "traceState": "c=d",
                "flags": 1,
                "attributes": ATTRIBUTES,
                "droppedAttributesCount": 4,
            }
        ],
        "status": {"code": "STATUS_CODE_OK"},
    }
    scope = {"name": "lib", "version": "1", "attributes": ATTRIBUTES}
    batch = {
        "resource": {"attributes": ATTRIBUTES},
        "scopeSpans": [{"scope": scope, "spans": [span]}],
    }
    [converted] = spans_of(TRACE_ID.hex(), batch)
    assert (converted.status, converted.error) == ("OK", False)
    assert converted.events == (SpanEvent(6, "e", {"n": 1}),)
    assert converted.links == (SpanLink(TRACE_ID.hex(), SPAN_ID.hex(), {"n": 1}, "c=d", 1, 4),)
    assert (converted.trace_state, converted.flags) == ("a=b", 257)
    dropped = (converted.dropped_attributes, converted.dropped_events, converted.dropped_links)
    assert dropped == (1, 2, 3)
    assert converted.resource == {"n": 1}
    assert converted.scope == Scope("lib", "1", {"n": 1})


def test_fields_that_tempo_leaves_out_have_their_defaults() -> None:
    """Names, times, kinds, resources and values that are zero or empty are absent from the JSON."""
    [converted] = spans_of(TRACE_ID.hex(), {"scopeSpans": [{}, {"spans": [{}]}]})
    assert (converted.name, converted.service, converted.start, converted.end) == ("", "", 0, 0)
    assert (converted.kind, converted.status, converted.resource) == ("UNSPECIFIED", "UNSET", {})
    span: dict[str, Any] = {
        "events": [{"name": "exception", "attributes": [{"key": "exception.type", "value": {}}]}],
        "attributes": [{"value": {"kvlistValue": {"values": [{"key": "k"}]}}}, {"key": "n"}],
    }
    [converted] = spans_of(TRACE_ID.hex(), {"resource": {}, "scopeSpans": [{"spans": [span]}]})
    assert converted.attributes == {"": {"k": None}, "n": None}
    assert converted.exceptions == ("",)


def test_a_kind_and_a_status_without_a_name_are_numbers() -> None:
    """Tempo writes a kind or a status that OTLP does not name as a number."""
    span: dict[str, Any] = {"kind": 99, "status": {"code": 7}}
    [converted] = spans_of(TRACE_ID.hex(), {"scopeSpans": [{"spans": [span]}]})
    assert (converted.kind, converted.status, converted.error) == ("99", "7", False)


@pytest.mark.parametrize(
    ("exception_type", "name"),
    [
        ("services.checkout.payment_client.PaymentError", "PaymentError"),
        ("java.io.Files$Broken", "Files$Broken"),
        ("*errors.errorString", "errorString"),
        ("App\\Exceptions\\Away", "Away"),
        ("OSError", "OSError"),
        ("Net::ReadTimeout", "Net::ReadTimeout"),
        ("no class. A sentence.", "no class. A sentence."),
        (7, "7"),
    ],
)
def test_an_exception_is_named_by_its_class(exception_type: object, name: str) -> None:
    """The module of an exception's class is left out, so that the class and the reason are read."""
    attributes = {"exception.type": exception_type, "exception.message": "a.b: c"}
    assert exception_text(attributes) == f"{name}: a.b: c"
