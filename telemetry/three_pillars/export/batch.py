"""The SDK's batches of spans and log records, with what they lose counted, and their text such as can be sent."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.structlog import StructlogProcessor
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, Status

from .. import redaction
from ..values import encodable, narrow
from .drops import Losses
from .session import Session

END = 64
"""Characters that go too where the SDK has cut a text, perhaps in the middle of a secret: no rule knows a beginning."""


class Spans(BatchSpanProcessor):
    """Sends spans by OTLP; ``losses`` knows of those that did not arrive."""

    def __init__(self, session: Session, losses: Losses) -> None:
        self.losses, losses.size = losses, int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "2048"))
        super().__init__(_SpanExporter(session, losses), losses.size)

    def on_end(self, span: ReadableSpan) -> None:
        """Put ``span`` into the queue."""
        if span.context and span.context.trace_flags.sampled:
            self.losses.given()
            super().on_end(span)


class Records(BatchLogRecordProcessor):
    """Sends log records by OTLP; ``losses`` knows of those that did not arrive."""

    def __init__(self, session: Session, losses: Losses) -> None:
        self.losses, losses.size = losses, int(os.environ.get("OTEL_BLRP_MAX_QUEUE_SIZE", "2048"))
        super().__init__(_LogExporter(session, losses), max_queue_size=losses.size)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Put ``log_record`` into the queue; a library's own, which did not go through structlog, such as can be sent."""
        if getattr(log_record.instrumentation_scope, "name", "") != StructlogProcessor.__module__:
            record = log_record.log_record
            record.body = redaction.fields({"body": encodable(record.body)})["body"]
            record.attributes = narrow(redaction.fields(encodable(dict(record.attributes or {}))))
        self.losses.given()
        super().on_emit(log_record)


class _SpanExporter(OTLPSpanExporter):
    def __init__(self, session: Session, losses: Losses) -> None:
        super().__init__(session=session)
        self.session, self.losses, limits = session, losses, SpanLimits()
        self.limits = {
            each for each in (limits.max_span_attribute_length, limits.max_attribute_length) if each
        }

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self.losses.batch(len(spans), self.session):
            return super().export(
                [
                    each if _is_plain(each, self.limits) else _spelled(each, self.limits)
                    for each in spans
                ]
            )


class _LogExporter(OTLPLogExporter):
    def __init__(self, session: Session, losses: Losses) -> None:
        super().__init__(session=session)
        self.session, self.losses = session, losses

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        with self.losses.batch(len(batch), self.session):
            return super().export(batch)


def _is_plain(span: ReadableSpan, limits: set[int]) -> bool:
    events = [(each.name, each.attributes) for each in span.events]
    links = [each.attributes for each in span.links]
    said = ascii(
        (span.name, span.status.description, span.attributes, events, links)
    )  # they show their items, in one go
    return (
        "\\" not in said
        and len(said) < min(limits, default=len(said) + 1)
        and not redaction.hinted(said)
    )


def _spelled(span: ReadableSpan, limits: set[int]) -> ReadableSpan:
    same = (
        "context",
        "parent",
        "resource",
        "kind",
        "start_time",
        "end_time",
        "instrumentation_scope",
    )

    def told(about: Mapping[str, Any] | None) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for name, value in (about or {}).items():
            said |= {
                key: ended(value, clean)
                for key, clean in redaction.fields(encodable({name: value})).items()
            }
        return said

    def ended(value: object, clean: Any) -> Any:  # noqa: ANN401  (an attribute's)
        if isinstance(value, str) and len(value) in limits:
            return clean[: -min(END, len(value) // 8 + 1)]
        return (
            list(map(ended, value, clean))
            if isinstance(value, list | tuple) and isinstance(clean, list)
            else clean
        )

    return ReadableSpan(
        redaction.text(encodable(span.name)),
        attributes=told(span.attributes),
        events=[
            Event(redaction.text(encodable(each.name)), told(each.attributes), each.timestamp)
            for each in span.events
        ],
        links=[Link(each.context, told(each.attributes)) for each in span.links],
        status=Status(
            span.status.status_code,
            redaction.text(encodable(span.status.description or "")) or None,
        ),
        **{name: getattr(span, name) for name in same},
    )
