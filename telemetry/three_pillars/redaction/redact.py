"""Apply the redaction rules to texts, and to the attributes of spans and log records."""

import re
from collections.abc import Mapping
from typing import Any

from .account_numbers import redact_account_numbers
from .prefilter import may_contain_secret
from .rules import RULES, SECRET_FIELD_NAME

SECRET = "[secret]"  # noqa: S105  (it replaces one)
ESCAPE_SEQUENCE = re.compile(r"\\(?:x..|u....|U........|.)")
"""Pattern of an escape sequence in the ``repr`` of a string, such as ``\\n`` or ``\\xa0``."""


def redact_text(text: str) -> str:
    """Return ``text`` with secrets, e-mail addresses, card numbers and IBANs replaced."""
    if not may_contain_secret(text):
        return text
    for rule in RULES:
        text = rule.pattern.sub(rule.replacement, text)
    return redact_account_numbers(text)


def redact_mapping(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``fields`` with all keys and values redacted, nested ones included.

    If the name of a field says that it is a secret, such as ``password``, the whole value is
    replaced by ``[secret]``.
    """
    # One check of the repr is cheaper than a check of each value. An escape sequence ends in a
    # letter or digit, which would hide that a word begins behind it.
    text = repr(fields)
    if "\\" in text:
        text = ESCAPE_SEQUENCE.sub(" ", text)
    if not may_contain_secret(text):
        return dict(fields)
    return _redact_fields(fields)


def _redact_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    redacted = {}
    for name, value in fields.items():
        is_secret = SECRET_FIELD_NAME.search(name)
        redacted[redact_text(name)] = SECRET if is_secret else _redact_value(value)
    return redacted


def _redact_value(value: Any) -> Any:  # noqa: ANN401  (an attribute's value)
    match value:
        case str():
            return redact_text(value)
        case Mapping():
            return _redact_fields(value)
        case [str(name), _] if SECRET_FIELD_NAME.search(name.rstrip("'")):
            # A header as ASGI servers keep it: a pair, whose name may be the repr of bytes.
            return [redact_text(name), SECRET]
        case list() | tuple():
            return [_redact_value(item) for item in value]
        case int() | float():
            return _redact_number(value)
    return value


def _redact_number(number: float) -> float | str:
    """Return ``number``, or the text ``[card]`` if its digits are a valid card number."""
    text = str(number)
    redacted = redact_text(text)
    return number if redacted == text else redacted
