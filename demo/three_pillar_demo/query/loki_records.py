"""Converts the entries in Loki's responses to log records.

Loki keeps the fields and the attributes of a log record, of its scope and of its resource in one
list of texts, and replaces what is not a letter or digit in their names by ``_``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from three_pillar_demo.query.interface import LogRecord, Scope

RECORD_FIELDS = {
    "trace_id",
    "span_id",
    "service_name",
    "severity_text",
    "severity_number",
    "detected_level",
    "observed_timestamp",
    "event_name",
    "flags",
    "dropped_attributes_count",
    "scope_name",
    "scope_version",
    "scope_dropped_attributes_count",
    "resource_dropped_attributes_count",
}
"""The names that Loki gives to what is not an attribute of the record."""
MAX_INT64_DIGITS = 19


def log_record(timestamp: int, body: str, fields: dict[str, str]) -> LogRecord:
    """Return the log record of an entry.

    Args:
        timestamp: The entry's time, in nanoseconds since the epoch.
        body: The entry's line.
        fields: The entry's labels and structured metadata.
    """
    return LogRecord(
        time=timestamp,
        service=fields.get("service_name", ""),
        severity=fields.get("severity_text", ""),
        body=body,
        fields=fields,
        severity_number=_number(fields, "severity_number"),
        observed_time=_number(fields, "observed_timestamp"),
        event_name=fields.get("event_name", ""),
        flags=_number(fields, "flags"),
        dropped_attributes=_number(fields, "dropped_attributes_count"),
        scope=Scope(fields.get("scope_name", ""), fields.get("scope_version", "")),
    )


def loki_attributes(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return attributes, such as those of a resource, as Loki has them: by name, as text.

    The entries of a nested attribute become attributes, whose names begin with its name.
    """
    return dict(_leaves("", attributes))


def _leaves(prefix: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in attributes.items():
        full_name = prefix + re.sub("[^0-9A-Za-z_]", "_", name)
        if isinstance(value, dict):
            yield from _leaves(f"{full_name}_", value)
        elif isinstance(value, str):
            yield full_name, value
        else:
            whole = _with_integers(value)
            yield full_name, json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _with_integers(value: Any) -> Any:  # noqa: ANN401  (any attribute value)
    """Return ``value`` with 9 in place of 9.0, as Go writes it."""
    if isinstance(value, list):
        return [_with_integers(element) for element in value]
    if isinstance(value, dict):
        return {name: _with_integers(element) for name, element in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(fields: Mapping[str, str], name: str) -> int:
    """Return a number, or 0 if it is absent, or is text because a sender's attribute replaces it.

    Attributes of a record can have these names, too, with any value.
    """
    text = fields.get(name, "")
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_INT64_DIGITS
    return int(text) if is_number else 0
