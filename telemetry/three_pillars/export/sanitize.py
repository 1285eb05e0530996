"""Sanitize the texts of a span before its export.

Afterwards each text is valid UTF-8 and redacted. An attribute value that the SDK has truncated
also loses its last characters, because they may be the first half of a secret.
"""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from ..redaction import may_contain_secret, redact_mapping, redact_text
from ..values import to_otlp_value

TRUNCATED_TAIL = 64
"""The most characters that are removed from the end of a truncated attribute value.

The SDK may have cut a secret in two, and no redaction rule recognises the first half of a secret.
"""


def is_clean(span: ReadableSpan, length_limits: set[int]) -> bool:
    """Return True if ``span`` certainly needs no sanitizing.

    The check is cheap, so it also returns False for some spans that need no sanitizing.
    ``length_limits`` are the lengths, in characters, to which the SDK truncates attribute values.
    """
    events = [(event.name, event.attributes) for event in span.events]
    links = [link.attributes for link in span.links]
    # One call makes a repr of all the text of the span. A backslash in it begins the escape
    # sequence of a character that is not plain ASCII. A repr that is shorter than each limit shows
    # that no value was truncated.
    text = ascii((span.name, span.status.description, span.attributes, events, links))
    if "\\" in text:
        return False
    if length_limits and len(text) >= min(length_limits):
        return False
    return not may_contain_secret(text)


def sanitized(span: ReadableSpan, length_limits: set[int]) -> ReadableSpan:
    """Return a copy of ``span`` whose texts are valid UTF-8 and redacted.

    An attribute value whose length is one of ``length_limits`` counts as truncated by the SDK. The
    last characters of such a value are removed as well, see ``TRUNCATED_TAIL``.
    """
    events = [
        Event(
            _sanitized_text(event.name),
            _sanitized_attributes(event.attributes, length_limits),
            event.timestamp,
        )
        for event in span.events
    ]
    links = [
        Link(link.context, _sanitized_attributes(link.attributes, length_limits))
        for link in span.links
    ]
    description = _sanitized_text(span.status.description or "")
    return ReadableSpan(
        _sanitized_text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_sanitized_attributes(span.attributes, length_limits),
        events=events,
        links=links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code, description or None),
        start_time=span.start_time,
        end_time=span.end_time,
    )


def _sanitized_text(text: str) -> str:
    return redact_text(to_otlp_value(text))


def _sanitized_attributes(
    attributes: Mapping[str, Any] | None, length_limits: set[int]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    # One attribute at a time: redaction may change its key, and the original value is needed to
    # see whether the SDK truncated it.
    for name, original in (attributes or {}).items():
        redacted = redact_mapping(to_otlp_value({name: original}))
        for key, value in redacted.items():
            result[key] = _without_truncated_tail(original, value, length_limits)
    return result


def _without_truncated_tail(original: object, value: Any, length_limits: set[int]) -> Any:  # noqa: ANN401  (an attribute's value)
    """Return the redacted ``value``, without its last characters if the SDK has truncated it.

    ``original`` is the same value before the redaction. A text counts as truncated if the length of
    ``original`` is one of ``length_limits``. In a list, each item is treated in this way.
    """
    if isinstance(original, str) and len(original) in length_limits:
        return value[: -min(TRUNCATED_TAIL, len(original) // 8 + 1)]
    if isinstance(original, list | tuple) and isinstance(value, list):
        return [
            _without_truncated_tail(original_item, item, length_limits)
            for original_item, item in zip(original, value, strict=False)
        ]
    return value
