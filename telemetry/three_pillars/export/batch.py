"""Batch processors and OTLP exporters that count every span and log record they cannot deliver."""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.structlog import StructlogProcessor
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from ..redaction import redact_mapping
from ..values import flatten_if_oversized, to_otlp_value
from ..variables import OpenTelemetryVariables
from .drops import DropCounter
from .sanitize import is_clean, sanitized
from .session import RetryingSession


class CountingBatchSpanProcessor(BatchSpanProcessor):
    """Batch processor that sends spans by OTLP; ``drops`` counts those that are not delivered."""

    def __init__(
        self, session: RetryingSession, drops: DropCounter, variables: OpenTelemetryVariables
    ) -> None:
        self.drops = drops
        drops.queue_size = variables.bsp_max_queue_size
        super().__init__(
            _SpanExporter(session, drops, variables.attribute_value_length_limit),
            max_queue_size=variables.bsp_max_queue_size,
            schedule_delay_millis=variables.bsp_schedule_delay,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Put the ended ``span`` into the export queue if it is sampled."""
        if span.context and span.context.trace_flags.sampled:
            self.drops.count_enqueued()
            super().on_end(span)


class CountingBatchLogRecordProcessor(BatchLogRecordProcessor):
    """Batch processor that sends log records by OTLP; ``drops`` counts the undelivered ones."""

    def __init__(
        self, session: RetryingSession, drops: DropCounter, variables: OpenTelemetryVariables
    ) -> None:
        self.drops = drops
        drops.queue_size = variables.blrp_max_queue_size
        exporter = _LogExporter(session, drops)
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
        self.drops.count_enqueued()
        super().on_emit(log_record)


class _SpanExporter(OTLPSpanExporter):
    """OTLP exporter that sanitizes each span, and counts each batch as delivered or dropped."""

    def __init__(
        self, session: RetryingSession, drops: DropCounter, max_attribute_length: int
    ) -> None:
        super().__init__(session=session)
        self.session = session
        self.drops = drops
        limits = SpanLimits(max_attribute_length=max_attribute_length)
        lengths = (limits.max_span_attribute_length, limits.max_attribute_length)
        self.length_limits = {length for length in lengths if length}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        limits = self.length_limits
        with self.drops.track_export(len(spans), self.session):
            clean_spans = [
                span if is_clean(span, limits) else sanitized(span, limits) for span in spans
            ]
            return super().export(clean_spans)


class _LogExporter(OTLPLogExporter):
    """OTLP exporter that counts each batch of log records as delivered or dropped.

    It sanitizes nothing, because the records were sanitized before they entered the queue.
    """

    def __init__(self, session: RetryingSession, drops: DropCounter) -> None:
        super().__init__(session=session)
        self.session = session
        self.drops = drops

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        with self.drops.track_export(len(batch), self.session):
            return super().export(batch)
