"""Parses an OTLP export request in JSON, and keeps what is valid of an invalid one.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding has the rules. As senders differ,
fields may also be in snake_case, and enumerations may be names. Unknown fields are ignored, and
null counts as absent.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.otlp.json_scalars import InvalidValueError, Reader, reader_of
from three_pillar_demo.local_store.otlp.json_text import load
from three_pillar_demo.local_store.otlp.record_types import (
    CONTAINERS,
    DROPPED_COUNTS,
    EMPTY_IF_INVALID,
    MAX_DEPTH,
    PARTS,
    RECORDS,
    lost_count,
)

ABSENT_IS_NAN = {"ValueAtQuantile": ["value"], "SummaryDataPoint": ["sum"]}
"""The measured values, by message type, that protobuf cannot express as absent: it would have 0.

All other measured values of OTLP are optional fields, or alternatives of a ``oneof``.
"""


@dataclass(frozen=True)
class _Field:
    """A field of a message; ``read`` converts JSON values of a scalar, and is None for messages."""

    name: str
    json_name: str
    is_repeated: bool
    read: Reader | None


def parse(content: bytes, message: Message, batch: Batch) -> None:
    """Parse the JSON object in ``content`` into ``message``, an OTLP export request.

    What is invalid is left out, and counted in ``batch`` by its reason.

    Raises:
        ValueError: The content is not a JSON object, or the request as a whole is invalid.
    """
    value = load(content)
    if not isinstance(value, dict):
        raise InvalidValueError("request body is not a JSON object")
    _RequestReader(batch).fill(message, value, 0)


class _RequestReader:
    """Fills messages from JSON objects, and counts in ``batch`` what it leaves out."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def fill(self, message: Message, value: Any, depth: int) -> None:  # noqa: ANN401  (any JSON value)
        """Set the fields of ``message`` from the JSON object ``value``.

        Raises:
            InvalidValueError: A field is invalid and cannot be left out alone.
        """
        descriptor = message.DESCRIPTOR
        if not isinstance(value, dict):
            raise InvalidValueError(f"{descriptor.name} is not an object")
        if depth > MAX_DEPTH:
            raise InvalidValueError(f"over {MAX_DEPTH} levels of nested values")
        fields = _fields(descriptor)
        for name in ABSENT_IS_NAN.get(descriptor.name, ()):
            setattr(message, name, math.nan)
        for name, member in value.items():
            field = fields.get(name)
            if field is None or member is None:
                continue
            try:
                self._set(message, field, member, depth)
            except InvalidValueError as error:
                if field.name not in EMPTY_IF_INVALID and descriptor.name not in CONTAINERS:
                    raise
                message.ClearField(field.name)
                field_type = descriptor.fields_by_name[field.name].message_type
                count = lost_count(member, field_type, _children) if field_type else 1
                self._count_lost_field(field, str(error), count)

    def _set(self, message: Message, field: _Field, member: Any, depth: int) -> None:  # noqa: ANN401  (any JSON value)
        if field.is_repeated:
            if not isinstance(member, list):
                raise InvalidValueError(f"{field.json_name} is not a list")
            if field.read:
                getattr(message, field.name).extend(map(field.read, member))
            else:
                self._append_all(message, field, member, depth)
        elif field.read:
            setattr(message, field.name, field.read(member))
        else:
            child = getattr(message, field.name)
            child.SetInParent()
            self.fill(child, member, depth + 1)

    def _append_all(self, message: Message, field: _Field, members: list[Any], depth: int) -> None:
        target = getattr(message, field.name)
        for member in members:
            child = target.add()
            type_name = child.DESCRIPTOR.name
            if member is None:
                if type_name != "AnyValue":  # a list of values may contain null
                    del target[-1]
                continue
            try:
                self.fill(child, member, depth + 1)
            except InvalidValueError as error:
                if type_name not in RECORDS and type_name not in PARTS:
                    raise
                count = lost_count(member, child.DESCRIPTOR, _children)
                del target[-1]
                self._count_lost_item(message, type_name, str(error), count)

    def _count_lost_item(self, owner: Message, type_name: str, reason: str, count: int) -> None:
        if type_name in RECORDS:
            self.batch.reject(f"{RECORDS[type_name]}: {reason}", count)
            return
        self.batch.warn(f"{PARTS[type_name]}: {reason}")
        counter = DROPPED_COUNTS.get(type_name, "")
        if counter in owner.DESCRIPTOR.fields_by_name:
            setattr(owner, counter, min(getattr(owner, counter) + 1, 2**32 - 1))

    def _count_lost_field(self, field: _Field, reason: str, count: int) -> None:
        """Count a field of a container as lost: ``count`` records, or one part that is shared."""
        if field.is_repeated:
            self.batch.reject(f"{field.json_name}: {reason}", count)
        else:
            self.batch.warn(f"{field.json_name}: {reason}")


def _children(value: Any, descriptor: Descriptor) -> Iterator[tuple[Any, Descriptor]]:  # noqa: ANN401  (any JSON value)
    """Yield the JSON values of the messages in a message with their types."""
    for field in descriptor.fields:
        if not field.message_type or not isinstance(value, dict):
            continue
        member = value.get(field.json_name, value.get(field.name))
        for item in member if isinstance(member, list) else [member]:
            if item is not None:
                yield item, field.message_type


@cache
def _fields(descriptor: Descriptor) -> dict[str, _Field]:
    """Return the fields of a message type by their names in lowerCamelCase and in snake_case."""
    fields = {}
    for field in descriptor.fields:
        read = None if field.message_type else reader_of(field)
        entry = _Field(field.name, field.json_name, field.is_repeated, read)
        fields[field.json_name] = entry
        fields[field.name] = entry
    return fields
