"""Text in place of what JSON or OTLP cannot carry: one such value would cost the whole batch."""

import json
from math import isfinite
from typing import Any

INT64 = 2**63
DEPTH = 5
"""How deep a value may be nested; what is deeper, or holds itself, is text."""
WIDE = 128
"""How many items the fields of one line may have in all. Loki makes an entry of each, and loses a line that has too many."""


def encodable(value: object, depth: int = DEPTH) -> Any:  # noqa: ANN401, PLR0911  (an attribute's; one for each kind)
    """Return ``value`` as both JSON and OTLP can carry it; what they cannot is text: objects, NaN, half a surrogate pair."""
    match value:
        case None | bool():
            return value
        case str():
            return value if value.isascii() else value.encode("utf-8", "xmlcharrefreplace").decode()
        case int() if -INT64 <= value < INT64:
            return int(value)
        case float():
            return (
                float(value) if isfinite(value) else json.dumps(value)
            )  # NaN, Infinity: as protobuf has them in JSON
        case dict() if depth:
            return {text(key): encodable(each, depth - 1) for key, each in value.items()}
        case tuple() if depth and hasattr(value, "_asdict"):
            return encodable(value._asdict(), depth)
        case list() | tuple() if depth:
            return [encodable(each, depth - 1) for each in value]
        case BaseException():
            return f"{type(value).__qualname__}: {text(value)}"
    return text(value)


def narrow(fields: dict[str, Any]) -> dict[str, Any]:
    """Return ``fields`` with what is nested as text, if they are too ``WIDE``."""
    if sum(map(_items, fields.values())) <= WIDE:
        return fields
    return {
        name: text(value) if isinstance(value, dict) else value for name, value in fields.items()
    }


def _items(value: Any) -> int:  # noqa: ANN401  (an attribute's)
    return sum(map(_items, value.values())) if isinstance(value, dict) else 1


def text(value: object) -> str:
    """Return ``value`` in words, whatever its own ``__str__`` does."""
    try:
        return str(encodable(str(value)))
    except Exception:  # noqa: BLE001  (anybody's)
        return object.__repr__(value)
