"""Batch processors and OTLP exporters that count every span and log record they cannot deliver."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.structlog import StructlogProcessor
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ..redaction import redact_mapping
from ..values import flatten_if_oversized, to_otlp_value
from ..variables import OpenTelemetryVariables
from .drops import DropCounter
from .encoded_batch import BatchEncoder, EncodedItem
from .encoded_export import can_send_encoded, send_encoded
from .encoded_records import RecordEncoder
from .encoded_spans import SpanEncoder
from .sanitize import is_clean, sanitized
from .session import RetryingSession


class CountingBatchSpanProcessor(BatchSpanProcessor):
    """Batch processor that sends spans by OTLP; ``drops`` counts those that are not delivered.

    With ``encodes_at_end``, each span is encoded when it ends, and the queue holds bytes.
    """

    def __init__(
        self,
        session: RetryingSession,
        drops: DropCounter,
        variables: OpenTelemetryVariables,
        *,
        encodes_at_end: bool = True,
    ) -> None:
        self.drops = drops
        drops.queue_size = variables.bsp_max_queue_size
        exporter = _SpanExporter(session, drops, variables.attribute_value_length_limit)
        self._encoder = None
        if encodes_at_end and can_send_encoded(exporter):
            self._encoder = SpanEncoder(exporter.length_limits)
        super().__init__(
            exporter,
            max_queue_size=variables.bsp_max_queue_size,
            schedule_delay_millis=variables.bsp_schedule_delay,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Put the ended ``span`` into the export queue if it is sampled."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        if not self._encoder:
            self.drops.count_enqueued()
            super().on_end(span)
            return
        try:
            data = self._encoder.encode(span)
        except Exception as error:  # noqa: BLE001  (OpenTelemetry's encoder may raise anything)
            self.drops.count_failed(error)
            return
        if self.drops.count_enqueued(len(data)):
            item = EncodedItem(span.resource, span.instrumentation_scope, data)
            self._batch_processor.emit(item)  # type: ignore[arg-type]


class CountingBatchLogRecordProcessor(BatchLogRecordProcessor):
    """Batch processor that sends log records by OTLP; ``drops`` counts the undelivered ones.

    With ``encodes_at_end``, each record is encoded when it is emitted, and the queue holds bytes.
    """

    def __init__(
        self,
        session: RetryingSession,
        drops: DropCounter,
        variables: OpenTelemetryVariables,
        *,
        encodes_at_end: bool = True,
    ) -> None:
        self.drops = drops
        drops.queue_size = variables.blrp_max_queue_size
        exporter = _LogExporter(session, drops)
        self._encoder = None
        if encodes_at_end and can_send_encoded(exporter):
            self._encoder = RecordEncoder()
        super().__init__(exporter, max_queue_size=variables.blrp_max_queue_size)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Sanitize ``log_record`` and put it into the export queue.

        A record from structlog is not sanitized here: ``logs.sanitize_event`` has already done so.
        """
        scope_name = getattr(log_record.instrumentation_scope, "name", "")
        if scope_name != StructlogProcessor.__module__:
            record = log_record.log_record
            record.body = redact_mapping({"body": to_otlp_value(record.body)})["body"]
            attributes = to_otlp_value(dict(record.attributes or {}))
            record.attributes = flatten_if_oversized(redact_mapping(attributes))
        if not self._encoder:
            self.drops.count_enqueued()
            super().on_emit(log_record)
            return
        try:
            data = self._encoder.encode(log_record)
        except Exception as error:  # noqa: BLE001  (OpenTelemetry's encoder may raise anything)
            self.drops.count_failed(error)
            return
        resource = log_record.resource or Resource.get_empty()
        self.enqueue(data, resource, log_record.instrumentation_scope)

    @property
    def encodes_at_end(self) -> bool:
        """Whether the queue holds encoded records, so that ``enqueue`` can be used."""
        return self._encoder is not None

    def enqueue(self, data: bytes, resource: Resource, scope: InstrumentationScope | None) -> None:
        """Put a record into the export queue that is encoded already, and sanitized."""
        if self.drops.count_enqueued(len(data)):
            item = EncodedItem(resource, scope, data)
            self._batch_processor.emit(item)  # type: ignore[arg-type]


class _SpanExporter(OTLPSpanExporter):
    """OTLP exporter that sanitizes each span, and counts each batch as delivered or dropped.

    A batch consists of spans, or of encoded spans, which have been sanitized.
    """

    def __init__(
        self, session: RetryingSession, drops: DropCounter, max_attribute_length: int
    ) -> None:
        super().__init__(session=session)
        self.session = session
        self.drops = drops
        limits = SpanLimits(max_attribute_length=max_attribute_length)
        lengths = (limits.max_span_attribute_length, limits.max_attribute_length)
        self.length_limits = {length for length in lengths if length}
        self.batches = BatchEncoder()

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        if isinstance(spans[0], EncodedItem):  # then all are
            is_accepted = _export_encoded(self, spans)
            return SpanExportResult.SUCCESS if is_accepted else SpanExportResult.FAILURE
        limits = self.length_limits
        with self.drops.track_export(len(spans), self.session):
            clean_spans = [
                span if is_clean(span, limits) else sanitized(span, limits) for span in spans
            ]
            return super().export(clean_spans)


class _LogExporter(OTLPLogExporter):
    """OTLP exporter that counts each batch of log records as delivered or dropped.

    A batch consists of records, or of encoded records. They were sanitized before they entered the
    queue.
    """

    def __init__(self, session: RetryingSession, drops: DropCounter) -> None:
        super().__init__(session=session)
        self.session = session
        self.drops = drops
        self.batches = BatchEncoder()

    def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
        if isinstance(batch[0], EncodedItem):  # then all are
            is_accepted = _export_encoded(self, batch)
            return LogRecordExportResult.SUCCESS if is_accepted else LogRecordExportResult.FAILURE
        with self.drops.track_export(len(batch), self.session):
            return super().export(batch)


def _export_encoded(exporter: _SpanExporter | _LogExporter, items: Sequence[EncodedItem]) -> bool:
    """Send ``items``, count them as delivered or dropped, and return whether they were accepted."""
    with exporter.drops.track_export(len(items), exporter.session):
        return send_encoded(exporter, len(items), exporter.batches.encode(items))
