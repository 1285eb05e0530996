"""Convert the values in decoded OTLP messages to Python objects."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


def python_value(value: AnyValue) -> Any:  # noqa: ANN401  (any type that OTLP can carry)
    """Return the Python object that ``value`` holds."""
    match value.WhichOneof("value"):
        case "array_value":
            return [python_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {item.key: python_value(item.value) for item in value.kvlist_value.values}
        case None:
            return None
        case kind:
            return getattr(value, kind)


def python_attributes(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Return OTLP ``attributes`` as a dictionary of Python objects."""
    return {attribute.key: python_value(attribute.value) for attribute in attributes}


def log_records(messages: Iterable[Message]) -> Iterator[dict[str, Any]]:
    """Yield each log record in the OTLP ``messages`` as a dictionary of its attributes.

    The key ``event`` has the body of the record, and ``trace`` the trace id as hex digits.
    """
    for message in messages:
        if not isinstance(message, ExportLogsServiceRequest):
            continue
        for resource_logs in message.resource_logs:
            for scope_logs in resource_logs.scope_logs:
                for record in scope_logs.log_records:
                    yield {
                        **python_attributes(record.attributes),
                        "event": python_value(record.body),
                        "trace": record.trace_id.hex(),
                    }
