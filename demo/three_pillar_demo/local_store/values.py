"""Converts OTLP values for the store: to redacted, truncated JSON, and to Prometheus' names."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillars import redaction

MAX_ATTRIBUTES = 128
"""The maximum number of attributes of one record; the others are dropped, as in the SDKs.

Elements of a list, events of a span and exemplars of a data point have the same limit.
"""
MAX_TEXT = 8192
"""The maximum length of one text, in characters; a longer text is cut."""
MAX_NAME = 256
"""The maximum length, in characters, of the name of an attribute, a metric or a scope."""
NAME_DIGEST_BYTES = 8
"""The size of the digest that ends a name which was over ``MAX_NAME``."""
MAX_SHOWN = 100
"""The maximum length, in characters, of a sender's text in the reason of a rejection."""
JSON_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
UNIT_SUFFIXES = {"s": "seconds", "ms": "milliseconds", "By": "bytes"}
SEVERITY_NAMES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
NUMBERS_PER_SEVERITY = 4


def json_attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as a dict of JSON values, redacted and within this module's limits."""
    return redaction.redact_mapping(_to_dict(pairs))


def stored_attributes(pairs: Sequence[KeyValue], batch: Batch) -> dict[str, Any]:
    """Return attributes as ``json_attributes`` does, and count in ``batch`` those left out.

    Left out are the attributes over ``MAX_ATTRIBUTES``, and all but the last of a repeated key.
    """
    attributes = json_attributes(pairs)
    lost_count = len(pairs) - len(attributes)
    if lost_count:
        over_count = max(0, len({pair.key for pair in pairs}) - MAX_ATTRIBUTES)
        batch.warn("attribute: repeated key", lost_count - over_count)
        batch.warn(f"attribute: over {MAX_ATTRIBUTES} in one record", over_count)
    return attributes


def counted_attributes(owner: Any, batch: Batch) -> tuple[dict[str, Any], int]:  # noqa: ANN401  (generated code)
    """Return the attributes of a record as ``stored_attributes`` does, and how many are missing.

    ``owner`` is an OTLP message with ``attributes`` and ``dropped_attributes_count``. The number
    includes what the sender dropped.
    """
    attributes = stored_attributes(owner.attributes, batch)
    lost_count = len(owner.attributes) - len(attributes)
    return attributes, owner.dropped_attributes_count + lost_count


def _to_dict(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        if len(values) >= MAX_ATTRIBUTES:
            break
        key = pair.key
        values[key if len(key) <= MAX_NAME else short_name(key)] = json_value(pair.value)
    return values


def json_value(value: AnyValue) -> Any:  # noqa: ANN401  (any JSON value)
    """Return an OTLP value as a JSON value: bytes in base64, NaN and infinity as text.

    The protobuf parser limits the depth of nested values, so the recursion is bounded.
    """
    kind = value.WhichOneof("value")
    if kind == "string_value":  # the most frequent type comes first
        text = value.string_value
        return text if len(text) <= MAX_TEXT else redacted_text(text)
    content: Any = getattr(value, kind) if kind else None
    match kind:
        case "double_value" if not math.isfinite(content):
            return str(content)
        case "array_value":
            return [json_value(element) for element in content.values[:MAX_ATTRIBUTES]]
        case "kvlist_value":
            return _to_dict(content.values)
        case "bytes_value":
            return base64.b64encode(content[:MAX_TEXT]).decode()
    return content


def prometheus_name(otlp_name: str, unit: str, kind: str) -> str:
    """Return the metric name that Prometheus' OTLP receiver would give.

    ``http.server.request.duration`` in ``s`` becomes ``http_server_request_duration_seconds``, and
    the name of a counter ends in ``_total``. Units outside ``UNIT_SUFFIXES`` add no suffix.
    """
    name = prometheus_label(redacted_text(short_name(otlp_name)))
    unit_suffix = UNIT_SUFFIXES.get(unit, "")
    if unit_suffix and not name.endswith(f"_{unit_suffix}"):
        name = f"{name}_{unit_suffix}"
    if kind == "counter" and not name.endswith("_total"):
        name = f"{name}_total"
    return name


def prometheus_label(otlp_name: str) -> str:
    """Return an OTLP name as a Prometheus label name: each character not allowed becomes ``_``."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", otlp_name)


def to_json(value: object) -> str:
    """Return compact JSON that SQLite's JSON functions can read."""
    return JSON_ENCODER.encode(value)


def truncate(text: str, limit: int = MAX_TEXT) -> str:
    """Return at most the first ``limit`` characters of ``text``."""
    return text if len(text) <= limit else text[:limit]


def short_name(name: str) -> str:
    """Return ``name`` in at most ``MAX_NAME`` characters; different names stay different.

    A name that is too long is cut, and ends in a digest of the whole name. It is redacted before,
    because a secret that lies across the cut would not be recognised afterwards.
    """
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=NAME_DIGEST_BYTES).hexdigest()
    return f"{redacted_text(name)[: MAX_NAME - len(digest) - 1]}~{digest}"


def redacted_text(text: str) -> str:
    """Return ``text`` redacted and truncated to ``MAX_TEXT`` characters.

    Redaction examines twice as many characters, so that it recognises a secret that lies across
    the cut.
    """
    if not text:
        return text
    return truncate(redaction.redact_text(truncate(text, 2 * MAX_TEXT)))


def shown_text(text: str) -> str:
    r"""Return a sender's text for a message: redacted, in one line, at most ``MAX_SHOWN`` long.

    A character that cannot be printed becomes an escape sequence, such as ``\n`` or ``\x1b``.
    """
    printable = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in redacted_text(text)[:MAX_SHOWN]
    )
    return printable[:MAX_SHOWN]


def to_text(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """Return a JSON value as text: a string unchanged, any other value encoded as JSON."""
    return value if isinstance(value, str) else to_json(value)


def severity_name(number: int) -> str:
    """Return the name, such as INFO, of an OTLP severity number (1 to 24), else an empty string."""
    if not 1 <= number <= NUMBERS_PER_SEVERITY * len(SEVERITY_NAMES):
        return ""
    return SEVERITY_NAMES[(number - 1) // NUMBERS_PER_SEVERITY]
