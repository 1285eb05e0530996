"""Encode attributes of spans and log records in protobuf (``KeyValue``), mostly from a cache.

Most attributes of a request are those of the request before: names, methods, routes, statuses.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from .protobuf import LENGTH_DELIMITED, VARINT, delimited, pack_double, tag, varint

MAX_CACHED = 1024
"""The most attributes, and the most names, that an encoder keeps."""
MAX_CACHED_LENGTH = 256
"""The most characters of a text that is kept."""
MAX_PLAIN_DIGITS = 12
"""The most digits of a number that cannot be a card number, which has 13 or more."""
INT64_LIMIT = 2**63

# The fields of KeyValue and AnyValue in opentelemetry/proto/common/v1/common.proto.
KEY = tag(1, LENGTH_DELIMITED)
VALUE = tag(2, LENGTH_DELIMITED)
STRING_VALUE = tag(1, LENGTH_DELIMITED)
BOOL_VALUE = tag(2, VARINT)
INT_VALUE = tag(3, VARINT)
DOUBLE_VALUE = tag(4, 1)


class AttributeEncoder:
    """Encodes attributes whose values are texts, numbers and booleans.

    An encoded attribute is a field with the tag ``field_tag``. ``accepts_text`` returns whether a
    name or a text value may be sent as it is. A text that it does not accept is not kept in the
    cache, because it may be a secret.
    """

    def __init__(self, field_tag: bytes, accepts_text: Callable[[str], bool]) -> None:
        self._field_tag = field_tag
        self._accepts_text = accepts_text
        self._texts: dict[str, bytes] = {}
        # Two caches, because 1 equals True and 1.0, which are encoded differently.
        self._text_attributes: dict[tuple[str, str], bytes] = {}
        self._integer_attributes: dict[tuple[str, int], bytes] = {}

    def encode(self, attributes: Mapping[str, Any]) -> list[bytes] | None:
        """Return the ``attributes`` as fields.

        Return None if one of them is not of the types above, or is not accepted.
        """
        fields = []
        for name, value in attributes.items():
            encoded = None
            if type(value) is str:
                encoded = self._text_attributes.get((name, value))
            elif type(value) is int:
                encoded = self._integer_attributes.get((name, value))
            if encoded is None:
                encoded = self._encode_new(name, value)
                if encoded is None:
                    return None
            fields.append(encoded)
        return fields

    def text(self, text: str) -> bytes | None:
        """Return ``text`` in UTF-8, or None if it is not accepted."""
        encoded = self._texts.get(text)
        if encoded is None:
            if not self._accepts_text(text):
                return None
            encoded = text.encode()
            if len(text) <= MAX_CACHED_LENGTH:
                _keep(self._texts, text, encoded)
        return encoded

    def _encode_new(self, name: str, value: object) -> bytes | None:
        """Encode an attribute that is not in the cache, and keep it there."""
        any_value = self._text_value(value) if type(value) is str else _number(value)
        encoded_name = self.text(name)
        if any_value is None or encoded_name is None:
            return None
        attribute = delimited(KEY, encoded_name) + delimited(VALUE, any_value)
        encoded = delimited(self._field_tag, attribute)
        if type(value) is str and len(value) <= MAX_CACHED_LENGTH:
            _keep(self._text_attributes, (name, value), encoded)
        elif type(value) is int:
            _keep(self._integer_attributes, (name, value), encoded)
        return encoded

    def _text_value(self, text: str) -> bytes | None:
        """Return ``text`` as an ``AnyValue``, or None if it is not accepted."""
        return delimited(STRING_VALUE, text.encode()) if self._accepts_text(text) else None


def _keep(cache: dict[Any, bytes], key: object, encoded: bytes) -> None:
    # Forgetting everything is rare, and cheaper than to keep the order in which entries were used.
    if len(cache) >= MAX_CACHED:
        cache.clear()
    cache[key] = encoded


def _number(value: object) -> bytes | None:
    """Return ``value`` as an ``AnyValue``, or None if it is not a boolean or a short number.

    A number that is not finite is none, because JSON has no name for it.
    """
    if type(value) is bool:
        return BOOL_VALUE + varint(value)
    if type(value) is int and -(10**MAX_PLAIN_DIGITS) < value < 10**MAX_PLAIN_DIGITS:
        return INT_VALUE + varint(value)
    if type(value) is float and isfinite(value) and len(repr(value)) <= MAX_PLAIN_DIGITS:
        return DOUBLE_VALUE + pack_double(value)
    return None


def dictionary_of(item: Any) -> Mapping[str, Any]:  # noqa: ANN401  (a span or a log record)
    """Return the attributes of an ended span or of a log record that has been emitted.

    The SDK keeps them in an object that locks and copies them each time they are read. The
    dictionary inside of it changes no more. Where there is none, the attributes are read as usual.
    """
    kept = getattr(item, "_attributes", None) or item.attributes
    values: Mapping[str, Any] = getattr(kept, "_dict", kept) or {}
    return values
