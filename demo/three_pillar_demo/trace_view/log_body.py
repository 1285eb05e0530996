"""How the body of a log record is shown: as one line in a list, and as a whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from three_pillar_demo.query.interface import LogRecord
from three_pillar_demo.query.otlp_json import exception_text
from three_pillar_demo.terminal import without_ansi

MAX_PARSED = 20_000
"""The number of characters up to which a body is read as JSON."""
MAX_LINE = 1_000
"""The number of characters of a line; the page cuts it again to what fits."""
PYTHON_STACK_TRACE = "Traceback (most recent call last):"
"""The first line of a stack trace of Python."""
MESSAGE_NAMES = ("message", "msg", "event", "text", "body")
"""The names under which structured log records have their message, most frequent first."""


@dataclass(frozen=True)
class LogBody:
    """What is shown of a body.

    Attributes:
        line: Its first line, or the last one of a stack trace of Python, which names the exception;
            of a map the message and the other entries as ``name=value``. For an empty body, what
            the record has instead: the name of its event or its attributes.
        more_lines: The number of other lines of a text.
        text: The whole body without escape sequences, indented if it is a map or a list.
        is_empty: Whether the record has no body, so that ``line`` is something else.
    """

    line: str
    more_lines: int = 0
    text: str = ""
    is_empty: bool = False


def log_body(record: LogRecord) -> LogBody:
    """Return what is shown of the body of ``record``.

    A text with a JSON object or array is shown as the map or list that it stands for.
    """
    text = without_ansi(record.body).strip("\r\n")
    structure = _structure(text)
    if isinstance(structure, dict):
        return LogBody(_line_of_map(structure), text=_indented(structure))
    if structure is not None:
        return LogBody(attribute_value(structure)[:MAX_LINE], text=_indented(structure))
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return LogBody(_stand_in(record), is_empty=True)
    line = lines[-1] if lines[0].startswith(PYTHON_STACK_TRACE) else lines[0]
    return LogBody(line.strip()[:MAX_LINE], len(lines) - 1, text)


def attribute_value(value: object) -> str:
    """Return the value of an attribute as a person writes it: a text as it is, all else as JSON.

    Lists and maps become ``["a", "b"]`` and ``{"a": 1}``, a Boolean ``true``, no value ``null``.
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _structure(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the map or the list that a text is in JSON; None if it is another text."""
    if len(text) > MAX_PARSED or text[:1] not in ("{", "["):
        return None
    try:
        structure = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return structure if structure and isinstance(structure, dict | list) else None


def _indented(structure: object) -> str:
    return json.dumps(structure, ensure_ascii=False, indent=2)


def _line_of_map(entries: Mapping[str, Any]) -> str:
    names = [name for name in MESSAGE_NAMES if isinstance(entries.get(name), str)]
    others = {name: value for name, value in entries.items() if name not in names[:1]}
    message = [without_ansi(entries[name]) for name in names[:1]]
    return " ".join([*message, _pairs(others)]).strip()[:MAX_LINE]


def _stand_in(record: LogRecord) -> str:
    """Return what says most about a record without a body."""
    attributes = record.attributes or record.fields
    # Loki has attributes under names with ``_`` for each ``.``.
    exception = exception_text(
        {
            name: attributes.get(name) or attributes.get(name.replace(".", "_")) or None
            for name in ("exception.type", "exception.message")
        }
    )
    return without_ansi(
        record.event_name.strip() or exception or _pairs(record.attributes) or "no body"
    )


def _pairs(attributes: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={attribute_value(value)}" for name, value in attributes.items())[
        :MAX_LINE
    ]
