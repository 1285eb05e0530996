"""Mends a protobuf request that protobuf's parser refuses because of one invalid item.

Protobuf's parser refuses a whole request for one text that is not UTF-8. This module walks along
the bytes and the message types: it replaces what is not UTF-8 by U+FFFD, and leaves out the record,
or the part of a record, that is malformed. https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from contextlib import suppress

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.otlp.record_types import (
    MAX_DEPTH,
    PARTS,
    RECORDS,
    lost_count,
)

MAX_FIELDS = 1_000_000
"""The maximum number of fields to walk along, some seconds of work."""
VARINT = 0
FIXED_64 = 1
LENGTH_DELIMITED = 2
FIXED_32 = 5
FIXED_SIZES = {FIXED_64: 8, FIXED_32: 4}
MAX_VARINT_BYTES = 10
PARSER_ERRORS = (DecodeError, UnicodeDecodeError)
"""What protobuf's parsers raise: the second is raised by the one that is written in Python."""


class WireError(ValueError):
    """The bytes are not a protobuf message."""


class Mender:
    """Walks along one request, and counts in ``batch`` what it leaves out.

    With ``trusts_parser``, a nested message that the parser accepts is copied. This is fast, but
    the parser then does not see how deeply the message is nested in the request.
    """

    def __init__(self, batch: Batch, *, trusts_parser: bool) -> None:
        self.batch = batch
        self.trusts_parser = trusts_parser
        self.fields_left = MAX_FIELDS

    def mend(self, content: bytes, descriptor: Descriptor, depth: int = 1) -> bytes:
        """Return the bytes of a message of the type ``descriptor`` without what is invalid.

        Raises:
            WireError: The message is malformed, and cannot be mended by leaving out a part.
        """
        if depth > MAX_DEPTH:
            raise WireError(f"over {MAX_DEPTH} levels of nested values")
        parts = []
        position = 0
        while position < len(content):
            start = position
            self.fields_left -= 1
            if self.fields_left < 0:
                raise WireError(f"over {MAX_FIELDS} fields in an invalid request")
            tag, position = _varint(content, position)
            if not tag >> 3:
                raise WireError("field number 0")
            value_start, position = _value_range(content, position, tag & 7)
            field = descriptor.fields_by_number.get(tag >> 3)
            if field is None or tag & 7 != LENGTH_DELIMITED:
                parts.append(content[start:position])
                continue
            value = self._mended_value(content[value_start:position], field, depth)
            if value is not None:
                parts += [_encoded_varint(tag), _encoded_varint(len(value)), value]
        return b"".join(parts)

    def _mended_value(self, value: bytes, field: FieldDescriptor, depth: int) -> bytes | None:
        """Return the value of a field without what is invalid; None if it is left out."""
        if field.type == FieldDescriptor.TYPE_STRING:
            return value.decode(errors="replace").encode()
        if field.message_type is None:
            return value
        if self.trusts_parser and _is_accepted(value, field.message_type):
            return value
        try:
            return self._mended_message(value, field.message_type, depth + 1)
        except WireError as error:
            type_name = field.message_type.name
            if type_name in RECORDS:
                count = lost_count(value, field.message_type, _children)
                self.batch.reject(f"{RECORDS[type_name]}: {error}", count)
            elif type_name in PARTS:
                self.batch.warn(f"{PARTS[type_name]}: {error}")
            else:
                raise
            return None

    def _mended_message(self, value: bytes, descriptor: Descriptor, depth: int) -> bytes:
        mended = self.mend(value, descriptor, depth)
        if not _is_accepted(mended, descriptor):
            raise WireError("malformed message")
        return mended


def _children(content: bytes, descriptor: Descriptor) -> Iterator[tuple[bytes, Descriptor]]:
    """Yield the messages in a message with their types, as far as it is not malformed."""
    position = 0
    with suppress(WireError):
        while position < len(content):
            tag, position = _varint(content, position)
            value_start, position = _value_range(content, position, tag & 7)
            field = descriptor.fields_by_number.get(tag >> 3)
            if field and field.message_type and tag & 7 == LENGTH_DELIMITED:
                yield content[value_start:position], field.message_type


def _is_accepted(value: bytes, descriptor: Descriptor) -> bool:
    try:
        GetMessageClass(descriptor).FromString(value)
    except PARSER_ERRORS:
        return False
    return True


def _value_range(content: bytes, position: int, wire_type: int) -> tuple[int, int]:
    """Return where the value of a field begins and ends; ``position`` is behind its tag."""
    start = position
    if wire_type == VARINT:
        _, position = _varint(content, position)
    elif wire_type in FIXED_SIZES:
        position += FIXED_SIZES[wire_type]
    elif wire_type == LENGTH_DELIMITED:
        length, start = _varint(content, position)
        position = start + length
    else:
        raise WireError(f"unknown wire type {wire_type}")
    if position > len(content):
        raise WireError("truncated message")
    return start, position


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """Return the varint at ``position``, and the position behind it."""
    result = 0
    for number in range(MAX_VARINT_BYTES):
        if position + number >= len(content):
            raise WireError("truncated message")
        byte = content[position + number]
        result |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:  # noqa: PLR2004  (the highest bit says whether another byte follows)
            return result, position + number + 1
    raise WireError("varint over ten bytes")


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:  # noqa: PLR2004  (as above)
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
