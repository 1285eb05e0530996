"""What applications log."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import structlog
from fastapi import FastAPI

from tests.field.foreign_app import Foreign


class Mute:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def looped() -> list[object]:
    """A list that holds itself."""
    ring: list[object] = []
    ring.append(ring)
    return ring


def nested(depth: int, wrap: Callable[[object], object] = lambda inner: [inner]) -> object:
    """A value so deep."""
    value: object = "core"
    for _ in range(depth):
        value = wrap(value)
    return value


ODD: dict[str, tuple[object, object]] = {
    "exception": (ValueError("x"), "ValueError: x"),
    "set": ({1}, ...),
    "bytes": (b"\xff", "b'\\xff'"),
    "nan": (float("nan"), ...),
    "infinity": (float("-inf"), ...),
    "over 64 bits": (2**70, str(2**70)),
    "decimal": (Decimal("1.50"), "1.50"),
    "datetime": (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
    "half a character": ("a\ud800", ...),
    "half a character within": ({"k\udcff": ["\udfff"]}, ...),
    "nan within": ([1, {"a": float("nan")}], ...),
    "nothing": ({"a": None}, {"a": None}),
    "object": (Mute(), ...),
    "exception without words": (ValueError(Mute()), ...),
    "holds itself": (looped(), ...),
    "key of two": ({(1, 2): 3}, ...),
    "key of bytes": ({b"a": 1}, ...),
    "number of 5000 digits": (10**5000, ...),
    "number of 5000 digits within": ([10**5000], ...),
    "300 items": (
        dict.fromkeys(map(str, range(300)), 0),
        str(dict.fromkeys(map(str, range(300)), 0)),
    ),
    "60 lists deep": (nested(60), ...),
    "60 objects deep": (nested(60, lambda inner: {"a": inner}), ...),
    "3000 lists deep": (nested(3000), ...),
}
"""What an app may log, and how it is spelled; where that is nobody's business, anything will do."""


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("place", ["event", "field"])
def test_whatever_is_logged_arrives(name: str, place: str) -> None:
    """A value of any kind, as the event or as a field, costs neither its own line nor the rest of it nor its batch."""
    foreign, (value, spelled) = Foreign(FastAPI()), ODD[name]
    log = structlog.get_logger()
    log.info("before")
    if place == "event":
        log.error(value, other="kept")
    else:
        log.error("event", odd=value, other="kept")
    log.info("after")
    for told in (foreign.encoded(), foreign.lines()):
        before, odd, after = told
        assert (before["event"], odd["other"], after["event"]) == ("before", "kept", "after")
        found = odd["event" if place == "event" else "odd"]
        if spelled is not ...:
            assert found == spelled
        if place == "field":
            assert odd["event"] == "event"


def test_a_field_may_have_any_name() -> None:
    """Half a character in the name of a field costs nothing either."""
    foreign = Foreign(FastAPI())
    structlog.get_logger().error("event", **{"k\ud800": 1, "other": "kept"})
    for (told,) in (foreign.encoded(), foreign.lines()):
        assert (
            told["event"],
            next(value for name, value in told.items() if name.startswith("k")),
            told["other"],
        ) == (
            "event",
            1,
            "kept",
        )


class SilentError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


WAYS: dict[str, Callable[[Any, BaseException], None]] = {
    "log.exception": lambda log, _: log.exception("event"),  # noqa: LOG004  (called in one)
    "exc_info=True": lambda log, _: log.error("event", exc_info=True),  # noqa: LOG014  (likewise)
    "exc_info=error": lambda log, error: log.error("event", exc_info=error),
    "exc_info=tuple": lambda log, error: log.error(
        "event", exc_info=(type(error), error, error.__traceback__)
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "error",
    [ValueError("half \ud800"), SilentError(), ExceptionGroup("g", [KeyError("\udfff")])],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("through", ["structlog", "logging"])
def test_an_exception_arrives(error: Exception, way: str, through: str) -> None:
    """A traceback is on the line and in the record in every way one can log it, whatever the exception says."""
    foreign = Foreign(FastAPI())
    log = structlog.get_logger() if through == "structlog" else logging.getLogger("foreign")
    try:
        raise error  # noqa: TRY301  (to log it)
    except Exception as caught:  # noqa: BLE001  (any)
        WAYS[way](log, caught)
    (line,) = foreign.lines()
    assert line["event"] == "event"
    assert f"{type(error).__name__}: " in line["exception"]
    if through == "structlog":
        (record,) = foreign.encoded()
        assert record["exception.type"] == type(error).__qualname__
        assert f"{type(error).__name__}: " in record["exception.stacktrace"]


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), OSError(2, "no such file", "name"), ValueError(), ValueError("a", 1)],
    ids=repr,
)
def test_the_message_of_an_exception_is_its_own_words(error: Exception) -> None:
    """``exception.message`` is what the exception says, without its type, as the conventions have it and the span too."""
    foreign = Foreign(FastAPI())
    structlog.get_logger().error("event", exc_info=error)
    assert [each["exception.message"] for each in (*foreign.encoded(), *foreign.lines())] == [
        str(error)
    ] * 2


@pytest.mark.parametrize("value", [(), (None, None, None), "no exception", False, None], ids=str)
def test_no_exception_is_no_fault(value: object) -> None:
    """An ``exc_info`` that holds no exception leaves a line like any other."""
    foreign = Foreign(FastAPI())
    structlog.get_logger().error("event", exc_info=value)
    assert [each["event"] for each in (*foreign.encoded(), *foreign.lines())] == ["event", "event"]


@pytest.mark.parametrize("name", ["set", "nan", "half a character", "60 lists deep"])
def test_libraries_may_say_anything(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Through ``logging`` too a value of any kind is one line of valid JSON, and stderr stays empty."""
    foreign = Foreign(FastAPI())
    logging.getLogger("foreign").error(ODD[name][0])
    logging.getLogger("foreign").error("say %s", ODD[name][0])
    assert len(foreign.lines()) == 2
    assert not capsys.readouterr().err


class UnspeakableError(Exception):
    """What cannot be said."""

    def __str__(self) -> str:
        raise UnspeakableError


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("%d", ("x",)),
        ("%s %s", (1,)),
        ("no place", (1,)),
        ("say %s", (UnspeakableError(),)),
        (UnspeakableError(), ()),
    ],
)
def test_libraries_may_say_it_wrong(
    said: object, arguments: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A message that its arguments do not fit, or that cannot be said at all, is a line too, and stderr stays empty."""
    foreign = Foreign(FastAPI())
    logging.getLogger("foreign").error(said, *arguments)
    assert len(foreign.lines()) == 1
    assert not capsys.readouterr().err
