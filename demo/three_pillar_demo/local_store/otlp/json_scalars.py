"""Converts JSON values to the values of protobuf's scalar fields, as OTLP's JSON encoding has them.

https://protobuf.dev/programming-guides/json/ has the rules, except that OTLP's ids are hex digits.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

ID_FIELDS = {"trace_id", "span_id", "parent_span_id"}
INVALID_ID = b"?"
"""The value of an id that is no hex number. Its length is wrong, so it is handled like any other
id of a wrong length: a span is rejected, a log record is kept without its id."""
HEX = re.compile(r"[0-9a-fA-F]*")
INTEGER = re.compile(r"-?[0-9]{1,20}")
NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{0,400})?([eE][+-]?[0-9]{1,5})?")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
SPECIAL_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
INTEGER_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}

Reader = Callable[[Any], Any]


class InvalidValueError(ValueError):
    """A JSON value is not a value of its field."""


def reader_of(field: FieldDescriptor) -> Reader:
    """Return the function that converts a JSON value to a value of the scalar ``field``.

    The function raises ``InvalidValueError`` if the value is invalid.
    """
    if field.name in ID_FIELDS:
        return _id
    if field.type == FieldDescriptor.TYPE_BYTES:
        return partial(_bytes, field.json_name)
    if field.enum_type:
        # The name of a value is looked up in a dict, because protobuf's own mapping raises
        # SystemError for a text with half of a surrogate pair.
        numbers = {value.name: value.number for value in field.enum_type.values}
        return partial(_enum, field.json_name, field.enum_type.name, numbers)
    if field.cpp_type in INTEGER_RANGES:
        return partial(_integer, field.json_name, *INTEGER_RANGES[field.cpp_type])
    readers: dict[int, Callable[[str, Any], Any]] = {
        FieldDescriptor.CPPTYPE_STRING: _text,
        FieldDescriptor.CPPTYPE_BOOL: _boolean,
        FieldDescriptor.CPPTYPE_DOUBLE: _double,
        FieldDescriptor.CPPTYPE_FLOAT: _double,
    }
    return partial(readers[field.cpp_type], field.json_name)


def mended(text: str) -> str:
    """Return ``text`` with U+FFFD for each half of a surrogate pair, which UTF-8 cannot express."""
    return text if text.isascii() else LONE_SURROGATE.sub("\ufffd", text)


def _id(value: object) -> bytes:
    if isinstance(value, str) and len(value) % 2 == 0 and HEX.fullmatch(value):
        return bytes.fromhex(value)
    return INVALID_ID


def _bytes(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise InvalidValueError(f"{name} is not base64")
    unpadded = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValueError(f"{name} is not base64") from error


def _enum(name: str, enum_name: str, numbers: dict[str, int], value: object) -> int:
    if isinstance(value, str) and value in numbers:
        return numbers[value]
    try:
        return _integer(name, *INTEGER_RANGES[FieldDescriptor.CPPTYPE_INT32], value)
    except InvalidValueError as error:
        raise InvalidValueError(f"{name} is not one of {enum_name}") from error


def _integer(name: str, lowest: int, highest: int, value: object) -> int:
    """Return an integer from a JSON number or text; 1.0, 1e3 and "1" are integers."""
    number: object = value
    if isinstance(value, str):
        is_number = NUMBER.fullmatch(value) is not None
        number = int(value) if INTEGER.fullmatch(value) else float(value if is_number else "nan")
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidValueError(f"{name} is not an integer")
    if not lowest <= number <= highest:
        raise InvalidValueError(f"{name} is out of range")
    return number


def _double(name: str, value: object) -> float:
    if isinstance(value, str):
        if value in SPECIAL_NUMBERS:
            return SPECIAL_NUMBERS[value]
        if NUMBER.fullmatch(value):
            return float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise InvalidValueError(f"{name} is out of range") from error
    raise InvalidValueError(f"{name} is not a number")


def _boolean(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidValueError(f"{name} is not true or false")


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return mended(value)
    raise InvalidValueError(f"{name} is not a text")
