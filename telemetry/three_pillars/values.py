"""Convert any Python value to one that both JSON and OTLP can encode.

A single value that cannot be encoded makes the exporter drop the whole batch.
"""

import json
from math import isfinite
from typing import Any

INT64_LIMIT = 2**63
MAX_DEPTH = 5
"""How many levels of nested mappings and lists are kept; deeper ones become text.

This also ends the conversion of a value that contains itself.
"""
MAX_FIELDS = 128
"""The maximum number of fields of one log record, nested fields included.

In a record with more fields, each nested mapping becomes one text. Loki makes a metadata entry of
each field, and rejects a record with too many entries.
"""


def to_otlp_value(value: object, depth: int = MAX_DEPTH) -> Any:  # noqa: ANN401  (any attribute's value)
    """Return ``value`` in a form that JSON and OTLP can encode.

    Dictionaries, lists and tuples are converted item by item down to ``depth`` levels. Other
    objects, NaN, infinity and integers of more than 64 bits become text. In a text, an unpaired
    surrogate is replaced by a character reference such as ``&#55296;``.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _valid_unicode(value)
    if isinstance(value, (int, float)):
        return _number(value)
    if depth and isinstance(value, (dict, list, tuple)):
        return _container(value, depth - 1)
    if isinstance(value, BaseException):
        return f"{type(value).__qualname__}: {safe_str(value)}"
    return safe_str(value)


def _valid_unicode(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-8", "xmlcharrefreplace").decode()


def _number(number: float) -> int | float | str:
    """Return ``number`` as a plain int or float, or as text if it is not finite or over 64 bits.

    Numbers that are not finite become ``NaN``, ``Infinity`` or ``-Infinity``, as in the JSON
    encoding of protobuf.
    """
    if isinstance(number, float):
        return float(number) if isfinite(number) else json.dumps(number)
    if -INT64_LIMIT <= number < INT64_LIMIT:
        return int(number)
    return safe_str(number)


def _container(
    value: dict[Any, Any] | list[Any] | tuple[Any, ...], depth: int
) -> dict[str, Any] | list[Any]:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()  # a named tuple: its field names say what is secret
    if isinstance(value, dict):
        return {safe_str(key): to_otlp_value(item, depth) for key, item in value.items()}
    return [to_otlp_value(item, depth) for item in value]


def flatten_if_oversized(fields: dict[str, Any]) -> dict[str, Any]:
    """Return ``fields`` unchanged if there are at most ``MAX_FIELDS``, nested fields included.

    Otherwise return a copy in which each nested mapping has become one text.
    """
    if sum(map(_field_count, fields.values())) <= MAX_FIELDS:
        return fields
    return {
        name: safe_str(value) if isinstance(value, dict) else value
        for name, value in fields.items()
    }


def _field_count(value: Any) -> int:  # noqa: ANN401  (any attribute's value)
    if isinstance(value, dict):
        return sum(map(_field_count, value.values()))
    return 1


def safe_str(value: object) -> str:
    """Return ``str(value)`` as valid Unicode, or ``object.__repr__(value)`` if ``str`` raises."""
    try:
        return str(to_otlp_value(str(value)))
    except Exception:  # noqa: BLE001  (a foreign __str__ may raise anything)
        return object.__repr__(value)
