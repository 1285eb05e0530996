"""The few parts of the protobuf wire format that spans and log records need.

https://protobuf.dev/programming-guides/encoding/: a message is a sequence of fields. A field is a
tag (its number and its wire type) and a value: a varint, 8 or 4 bytes, or a length and that many
bytes. The order of the fields is free.
"""

import struct

VARINT = 0
FIXED64 = 1
LENGTH_DELIMITED = 2
FIXED32 = 5

CONTINUATION = 0x80
UINT64_MASK = 2**64 - 1

pack_double = struct.Struct("<d").pack
pack_fixed32 = struct.Struct("<I").pack
pack_fixed64 = struct.Struct("<Q").pack


def _encode_varint(number: int) -> bytes:
    groups = bytearray()
    while number >= CONTINUATION:
        groups.append(number & (CONTINUATION - 1) | CONTINUATION)
        number >>= 7
    groups.append(number)
    return bytes(groups)


SMALL_VARINTS = tuple(_encode_varint(number) for number in range(2048))


def varint(number: int) -> bytes:
    """Return an integer of 64 bits as a varint; a negative one takes ten bytes."""
    if 0 <= number < len(SMALL_VARINTS):
        return SMALL_VARINTS[number]
    return _encode_varint(number & UINT64_MASK)


def tag(field: int, wire_type: int) -> bytes:
    """Return the tag of the field with the number ``field``."""
    return varint(field << 3 | wire_type)


def delimited(field_tag: bytes, value: bytes) -> bytes:
    """Return a field whose value has a length: a text, bytes or a message."""
    return b"%b%b%b" % (field_tag, varint(len(value)), value)
