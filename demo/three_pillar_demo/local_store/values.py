"""Values of OTLP as the store keeps them: texts cut, attributes bounded, names as Prometheus gives them."""

import base64
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from three_pillars import redaction

MAX_ATTRIBUTES = 128
"""Of one thing; the SDKs' own limit. What is more is left out."""
MAX_TEXT = 8192
"""Characters of one text; the services cut at the same length."""
UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes"}


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as JSON has them, redacted: at most ``MAX_ATTRIBUTES``, texts cut at ``MAX_TEXT``."""
    return redaction.fields(_plain(pairs))


def _plain(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        if len(found) >= MAX_ATTRIBUTES:
            break
        found[cut(pair.key, 256)] = value_of(pair.value)
    return found


def value_of(value: AnyValue) -> Any:  # noqa: ANN401  (JSON)
    """A value as JSON has it; bytes in base64, NaN and infinity as text. Depth is limited by the parser."""
    kind = value.WhichOneof("value")
    plain: Any = getattr(value, kind) if kind else None
    match kind:
        case "string_value":
            return told(plain) if len(plain) > MAX_TEXT else plain
        case "double_value" if not math.isfinite(plain):
            return str(plain)
        case "array_value":
            return [value_of(each) for each in plain.values[:MAX_ATTRIBUTES]]
        case "kvlist_value":
            return _plain(plain.values)
        case "bytes_value":
            return base64.b64encode(plain[:MAX_TEXT]).decode()
    return plain


def prometheus_name(otel: str, unit: str, kind: str) -> str:
    """``http.server.request.duration`` in ``s`` is ``http_server_request_duration_seconds``; a counter ends in ``_total``."""
    name = label(otel[:256])
    suffix = UNITS.get(unit, "")
    name += f"_{suffix}" if suffix and not name.endswith(f"_{suffix}") else ""
    return f"{name}_total" if kind == "counter" and not name.endswith("_total") else name


def label(name: str) -> str:
    """A name as Prometheus takes it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def dumped(value: object) -> str:
    """JSON that SQLite's own functions read."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def cut(said: str, limit: int = MAX_TEXT) -> str:
    """At most ``limit`` characters of what was said."""
    return said if len(said) <= limit else said[:limit]


def told(said: str) -> str:
    """What was said, without what nobody should know, and cut."""
    return cut(redaction.text(cut(said, 2 * MAX_TEXT)))


def text(value: Any) -> str:  # noqa: ANN401  (JSON)
    """A value as a label or a name has it."""
    return value if isinstance(value, str) else dumped(value)


def severity_of(number: int) -> str:
    """The word for OTLP's number; none for what is none."""
    names = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    return names[(number - 1) // 4] if 1 <= number <= 4 * len(names) else ""
