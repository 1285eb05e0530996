"""Configure structlog and ``logging``: JSON lines on stdout, and log records by OTLP.

Each structlog event is one line of JSON on stdout and one OTLP log record, both with the trace id
and span id of the request. Records of ``logging`` go to stdout only.
"""

import logging
import sys
import traceback
from typing import TextIO, cast

import structlog
from opentelemetry import trace
from opentelemetry.instrumentation.structlog import StructlogProcessor
from opentelemetry.sdk._logs import LoggerProvider
from structlog.typing import EventDict, Processor, WrappedLogger

from .export.batch import CountingBatchLogRecordProcessor
from .json_lines import to_json
from .ordinary_events import OrdinaryEvents
from .redaction import redact_mapping
from .stdout import NonBlockingStdout
from .values import flatten_if_oversized, safe_str, to_otlp_value

ALREADY_LOGGED = "_already_logged"
"""Name of the attribute that marks an exception as already logged in the log line of its request.

uvicorn logs the same exception again; ``_prepare_record`` suppresses uvicorn's record.
"""

# OTLP would ignore a timestamp without a time zone.
_add_timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


def configure(
    provider: LoggerProvider, queue: CountingBatchLogRecordProcessor | None = None
) -> None:
    """Make structlog write each event to stdout as JSON and to ``provider`` as a log record.

    Also configure ``logging``, see ``log_to_stdout``. With ``queue``, the processor of the
    provider, the fast path ``log`` is used.
    """
    stdout = log_to_stdout()
    otlp = cast("Processor", StructlogProcessor(provider))  # type: ignore[no-untyped-call]
    processors: list[Processor] = [_add_timestamp, sanitize_event, otlp]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            # Before the ids, because an OTLP record has fields of its own for them.
            *_in_one_pass(processors, provider, queue),
            add_trace_ids,
            structlog.processors.JSONRenderer(_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stdout)),
        # The logger of the request recorder is bound only once in any case, and a cached logger
        # would outlive the next configure().
        cache_logger_on_first_use=False,
    )


def _in_one_pass(
    processors: list[Processor],
    provider: LoggerProvider,
    queue: CountingBatchLogRecordProcessor | None,
) -> list[Processor]:
    """Return one processor that does the work of ``processors``, or those if it cannot be used."""
    if not queue or not queue.encodes_at_end:
        return processors
    try:
        return [OrdinaryEvents(provider, queue, processors)]
    except AttributeError as error:
        logging.getLogger(__name__).warning(
            f"fast path log is off, because the OpenTelemetry SDK has changed: {error}"
        )
        return processors


def _to_json(event: EventDict, **_options: object) -> str:
    """Return a sanitized event as JSON.

    structlog's options are for values that a sanitized event does not have.
    """
    return to_json(event)


def log_to_stdout() -> NonBlockingStdout:
    """Make ``logging`` write its records to stdout as JSON; return the stream that they go to.

    The records are not exported by OTLP: an exporter that fails logs a warning with ``logging``,
    and the export of this warning would then fail too.
    """
    stdout = NonBlockingStdout(sys.stdout)
    handler = logging.StreamHandler(stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                _add_timestamp,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                sanitize_event,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(_prepare_record)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # httpx2 logs one record for each call; the CLIENT span has more information.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    # These log a record for every excess header or attribute that a client sends, and some of
    # the records contain the whole value.
    for name in ("attributes", "baggage", "trace"):
        logging.getLogger(f"opentelemetry.{name}").setLevel(logging.CRITICAL)
    return stdout


def _prepare_record(record: logging.LogRecord) -> bool:
    """Make sure that ``record`` can be formatted; return whether ``logging`` is to write it.

    The result is False if the exception of ``record`` is marked with ``ALREADY_LOGGED``.
    """
    try:
        record.getMessage()
    except Exception:  # noqa: BLE001
        # The arguments do not fit the message, or a __str__ of the application fails. The record
        # is written unformatted rather than lost.
        record.msg = f"{safe_str(record.msg)} {to_otlp_value(record.args)}"
        record.args = ()
    return not (record.exc_info and hasattr(record.exc_info[1], ALREADY_LOGGED))


def sanitize_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor that makes every value valid for JSON and OTLP, then redacts secrets.

    An exception in ``exc_info`` is replaced by three texts: its traceback, type and message. The
    exception object itself could make the export of the whole batch fail.
    """
    exception = _pop_exception(event)
    if exception is not None:
        event["exception"] = "".join(traceback.format_exception(exception))
        event["exception.type"] = type(exception).__qualname__
        event["exception.message"] = safe_str(exception)
    sanitized = {to_otlp_value(name): to_otlp_value(value) for name, value in event.items()}
    return flatten_if_oversized(redact_mapping(sanitized))


def _pop_exception(event: EventDict) -> BaseException | None:
    """Remove ``exc_info`` from ``event``, and return its exception, or None if there is none.

    ``exc_info`` may be an exception, a tuple from ``sys.exc_info()``, or True, which stands for the
    exception that is being handled.
    """
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        return sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        # As sys.exc_info() returns it; without an exception it is empty or holds three Nones.
        exc_info = exc_info[1] if len(exc_info) > 1 else None
    return exc_info if isinstance(exc_info, BaseException) else None


def add_trace_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor that adds ``trace_id`` and ``span_id`` of the current span, if any.

    The trace id has 32 lower-case hex digits and the span id 16, as in W3C Trace Context.
    """
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event
