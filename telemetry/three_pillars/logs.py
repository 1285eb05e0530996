"""Logs: every event is one JSON object on stdout and the same record by OTLP, joined to its trace in both."""

import logging
import sys
import traceback
from typing import TextIO, cast

import structlog
from opentelemetry import trace
from opentelemetry.instrumentation.structlog import StructlogProcessor
from opentelemetry.sdk._logs import LoggerProvider
from structlog.typing import EventDict, Processor, WrappedLogger

from . import redaction
from .stdout import Stdout
from .values import encodable, narrow, text

TOLD = "_told_by_canonical_line"
"""Set on an exception whose traceback the canonical line carries; uvicorn need not print it again."""


def configure(provider: LoggerProvider) -> None:
    """Make structlog write every event to stdout and to ``provider``: an event walks down this list."""
    stdout = log_to_stdout()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _STAMP,
            spell_out,
            # Before the ids: the record has fields of its own for them.
            cast("Processor", StructlogProcessor(provider)),  # type: ignore[no-untyped-call]
            add_trace_ids,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stdout)),
        cache_logger_on_first_use=False,  # the request logger is bound once anyway; a cache would outlive a new configure()
    )


def log_to_stdout() -> Stdout:
    """Write what libraries say through ``logging`` to stdout as JSON too, and never to OTLP; returns where that goes.

    An exporter that fails logs a warning; sent by OTLP, that warning would be the next thing to fail.
    """
    stdlib = structlog.stdlib
    about: list[Processor] = [stdlib.add_log_level, stdlib.add_logger_name, _STAMP]
    render: list[Processor] = [
        stdlib.ProcessorFormatter.remove_processors_meta,
        spell_out,
        structlog.processors.JSONRenderer(),
    ]
    stdout = Stdout(sys.stdout)
    handler = logging.StreamHandler(stdout)
    handler.setFormatter(stdlib.ProcessorFormatter(foreign_pre_chain=about, processors=render))
    handler.addFilter(_mended)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("httpx2").setLevel(
        logging.WARNING
    )  # one line a call; the CLIENT span says more
    for name in (
        "attributes",
        "baggage",
        "trace",
    ):  # a line for whatever a client sends too much of, some quote it whole
        logging.getLogger(f"opentelemetry.{name}").setLevel(logging.CRITICAL)
    return stdout


def _mended(record: logging.LogRecord) -> bool:
    try:
        record.getMessage()
    except Exception:  # noqa: BLE001  (arguments that do not fit, or anybody's __str__: as it came, and not lost)
        record.msg, record.args = f"{text(record.msg)} {encodable(record.args)}", ()
    return not (record.exc_info and hasattr(record.exc_info[1], TOLD))


def spell_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Write as text what JSON or OTLP cannot carry, the exception first, or it would cost the whole batch; then redact."""
    error = event.pop("exc_info", None)
    error = sys.exc_info()[1] if error is True else error
    for each in error if isinstance(error, tuple) else (error,):
        if isinstance(each, BaseException):
            event["exception"] = "".join(traceback.format_exception(each))
            event["exception.type"], event["exception.message"] = (
                type(each).__qualname__,
                text(each),
            )
    return narrow(
        redaction.fields({encodable(name): encodable(value) for name, value in event.items()})
    )


def add_trace_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add ``trace_id`` and ``span_id`` as W3C spells them: lower-case hex, zero-padded."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


_STAMP = structlog.processors.TimeStamper(
    fmt="iso", utc=True
)  # a stamp without a zone would be ignored by OTLP
