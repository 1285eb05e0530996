"""Every value that an application logs arrives on stdout and by OTLP, and loses no OTLP batch."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import structlog
from fastapi import FastAPI

from tests.field.foreign_app import ForeignApp


class UnprintableObject:
    """An object whose ``repr`` raises an exception."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class UnprintableError(Exception):
    """An exception whose ``str`` raises an exception."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class RecursiveError(Exception):
    """An exception whose ``str`` raises another exception of this class."""

    def __str__(self) -> str:
        raise RecursiveError


def list_in_itself() -> list[object]:
    """Return a list that contains itself."""
    ring: list[object] = []
    ring.append(ring)
    return ring


def nested(depth: int, wrap: Callable[[object], object] = lambda inner: [inner]) -> object:
    """Return the text ``core``, wrapped ``depth`` times by ``wrap``, by default in a list."""
    value: object = "core"
    for _ in range(depth):
        value = wrap(value)
    return value


WIDE_OBJECT = {str(number): 0 for number in range(300)}
ANY_TEXT = ...
UNUSUAL_VALUES: dict[str, tuple[object, object]] = {
    "exception": (ValueError("x"), "ValueError: x"),
    "set": ({1}, ANY_TEXT),
    "bytes": (b"\xff", "b'\\xff'"),
    "nan": (float("nan"), ANY_TEXT),
    "infinity": (float("-inf"), ANY_TEXT),
    "over 64 bits": (2**70, str(2**70)),
    "decimal": (Decimal("1.50"), "1.50"),
    "datetime": (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
    "lone surrogate": ("a\ud800", ANY_TEXT),
    "nested lone surrogate": ({"k\udcff": ["\udfff"]}, ANY_TEXT),
    "nested nan": ([1, {"a": float("nan")}], ANY_TEXT),
    "none in an object": ({"a": None}, {"a": None}),
    "unprintable object": (UnprintableObject(), ANY_TEXT),
    "unprintable exception": (ValueError(UnprintableObject()), ANY_TEXT),
    "list in itself": (list_in_itself(), ANY_TEXT),
    "tuple as a key": ({(1, 2): 3}, ANY_TEXT),
    "bytes as a key": ({b"a": 1}, ANY_TEXT),
    "number of 5000 digits": (10**5000, ANY_TEXT),
    "nested number of 5000 digits": ([10**5000], ANY_TEXT),
    "300 items": (WIDE_OBJECT, str(WIDE_OBJECT)),
    "60 lists deep": (nested(60), ANY_TEXT),
    "60 objects deep": (nested(60, lambda inner: {"a": inner}), ANY_TEXT),
    "3000 lists deep": (nested(3000), ANY_TEXT),
}
"""Pairs of a value that an application logs and the value that arrives.

``ANY_TEXT`` stands for an arriving value that is not checked.
"""


@pytest.mark.parametrize("name", UNUSUAL_VALUES)
@pytest.mark.parametrize("position", ["event", "field"])
def test_any_logged_value_arrives(name: str, position: str) -> None:
    """A line arrives with a value of any kind as its event or field, and so do its neighbours."""
    foreign = ForeignApp(FastAPI())
    value, expected = UNUSUAL_VALUES[name]
    log = structlog.get_logger()
    log.info("before")
    if position == "event":
        log.error(value, other="kept")
    else:
        log.error("event", odd=value, other="kept")
    log.info("after")
    for events in (foreign.decoded_records(), foreign.lines()):
        previous_event, odd_event, next_event = events
        assert (previous_event["event"], next_event["event"]) == ("before", "after")
        assert odd_event["other"] == "kept"
        arrived = odd_event["event" if position == "event" else "odd"]
        if expected is not ANY_TEXT:
            assert arrived == expected
        if position == "field":
            assert odd_event["event"] == "event"


def test_a_field_may_have_any_name() -> None:
    """A field whose name has a lone surrogate arrives, and so do the other fields."""
    foreign = ForeignApp(FastAPI())
    structlog.get_logger().error("event", **{"k\ud800": 1, "other": "kept"})
    for (event,) in (foreign.decoded_records(), foreign.lines()):
        (renamed,) = [value for name, value in event.items() if name.startswith("k")]
        assert (event["event"], renamed, event["other"]) == ("event", 1, "kept")


LOGGING_CALLS: dict[str, Callable[[Any, BaseException], None]] = {
    "log.exception": lambda log, _: log.exception("event"),  # noqa: LOG004  (called in a handler)
    "exc_info=True": lambda log, _: log.error("event", exc_info=True),  # noqa: LOG014  (likewise)
    "exc_info=error": lambda log, error: log.error("event", exc_info=error),
    "exc_info=tuple": lambda log, error: log.error(
        "event", exc_info=(type(error), error, error.__traceback__)
    ),
}


@pytest.mark.parametrize("call", LOGGING_CALLS)
@pytest.mark.parametrize(
    "error",
    [ValueError("half \ud800"), UnprintableError(), ExceptionGroup("g", [KeyError("\udfff")])],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("library", ["structlog", "logging"])
def test_a_logged_exception_arrives(error: Exception, call: str, library: str) -> None:
    """The traceback of an exception arrives, with structlog and ``logging``, in every call form."""
    foreign = ForeignApp(FastAPI())
    log = structlog.get_logger() if library == "structlog" else logging.getLogger("foreign")
    try:
        raise error  # noqa: TRY301  (to log it)
    except Exception as caught:  # noqa: BLE001  (any)
        LOGGING_CALLS[call](log, caught)
    (line,) = foreign.lines()
    assert line["event"] == "event"
    assert f"{type(error).__name__}: " in line["exception"]
    if library == "structlog":
        (record,) = foreign.decoded_records()
        assert record["exception.type"] == type(error).__qualname__
        assert f"{type(error).__name__}: " in record["exception.stacktrace"]


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), OSError(2, "no such file", "name"), ValueError(), ValueError("a", 1)],
    ids=repr,
)
def test_exception_message_is_without_the_type(error: Exception) -> None:
    """``exception.message`` is the text of the exception alone, as in the semantic conventions."""
    foreign = ForeignApp(FastAPI())
    structlog.get_logger().error("event", exc_info=error)
    events = [*foreign.decoded_records(), *foreign.lines()]
    assert [event["exception.message"] for event in events] == [str(error), str(error)]


@pytest.mark.parametrize("value", [(), (None, None, None), "no exception", False, None], ids=str)
def test_exc_info_may_hold_no_exception(value: object) -> None:
    """An event arrives even if its ``exc_info`` is a value that holds no exception."""
    foreign = ForeignApp(FastAPI())
    structlog.get_logger().error("event", exc_info=value)
    events = [*foreign.decoded_records(), *foreign.lines()]
    assert [event["event"] for event in events] == ["event", "event"]


@pytest.mark.parametrize("name", ["set", "nan", "lone surrogate", "60 lists deep"])
def test_a_library_may_log_any_value(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A record of ``logging`` with a value of any kind is one line of valid JSON on stdout."""
    foreign = ForeignApp(FastAPI())
    value, _ = UNUSUAL_VALUES[name]
    logging.getLogger("foreign").error(value)
    logging.getLogger("foreign").error("say %s", value)
    assert len(foreign.lines()) == 2
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("%d", ("x",)),
        ("%s %s", (1,)),
        ("no place", (1,)),
        ("say %s", (RecursiveError(),)),
        (RecursiveError(), ()),
    ],
)
def test_a_message_that_cannot_be_formatted_is_written(
    message: object, arguments: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A ``logging`` message whose formatting raises an exception is still written as a line."""
    foreign = ForeignApp(FastAPI())
    logging.getLogger("foreign").error(message, *arguments)
    assert len(foreign.lines()) == 1
    assert not capsys.readouterr().err
