"""Tests that the number of a log record's severity decides, and its text where there is none."""

import re
import time
from functools import partial

import pytest

from tests.demo.local_store.messages import log_record, log_request
from tests.demo.local_store.stores import InMemoryStore
from tests.demo.query.test_local import DAY_S, run
from three_pillar_demo.query.interface import NANO, LogRecord
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.query.severity import (
    LEVEL_NUMBERS,
    LEVEL_TEXTS,
    is_failure,
    level_of,
    logql_filter,
)

CASES = [
    ("error", 17, "ERROR"),
    ("Critical", 21, "ERROR"),
    ("INFO", 17, "ERROR"),
    ("whatever", 24, "ERROR"),
    ("", 18, "ERROR"),
    ("ERROR", 9, "INFO"),
    ("ERROR", 1, "TRACE"),
    ("fine", 5, "DEBUG"),
    ("Error", 0, "ERROR"),
    ("error", 25, "ERROR"),
    (" critical ", 0, "ERROR"),
    ("fatal3", 0, "ERROR"),
    ("Warning", 0, "WARN"),
    ("Information", 0, "INFO"),
    ("info4", 0, "INFO"),
    ("verbose", 0, "TRACE"),
    ("gossip", 0, ""),
    ("", 0, ""),
    ("errors", 0, ""),
]
"""The severity text and number of a log record, and its level."""


@pytest.mark.parametrize(("text", "number", "level"), CASES)
def test_the_number_decides_and_then_the_text(text: str, number: int, level: str) -> None:
    """17 to 24 are errors whatever the text, and an unknown number leaves it to the text."""
    assert level_of(text, number) == level
    assert is_failure(text, number) == (level == "ERROR")
    assert LogRecord(0, "", text, "", {}, severity_number=number).failed == (level == "ERROR")


def test_the_local_store_finds_log_records_by_level(in_memory_store: InMemoryStore) -> None:
    """Each level finds exactly the records that have it, the newest first."""
    now = time.time_ns()
    in_memory_store.send(
        "logs",
        log_request(
            *(
                log_record(f"{index}", at=now + index, severity=number, severity_text=text)
                for index, (text, number, _) in enumerate(CASES)
            )
        ),
    )
    end = now / NANO + DAY_S
    for wanted in LEVEL_NUMBERS:
        query = partial(LocalBackends.logs, start=0, end=end, severity=wanted)
        found = run(in_memory_store.path, query)
        expected = [str(index) for index, (_, _, level) in enumerate(CASES) if level == wanted]
        assert [record.body for record in found] == expected[::-1]
    exact = run(in_memory_store.path, lambda backends: backends.logs(0, end, severity="gossip"))
    assert [record.severity for record in exact] == ["gossip"]


def matches_logql(filter_: str, text: str, number: int) -> bool:
    """Return the result of a filter of ``logql_filter`` for a record, as Loki would."""
    pattern = (
        r'\(severity_number=~"(.*)" or \(severity_number!~"(.*)" and severity_text=~"(.*)"\)\)'
    )
    match = re.fullmatch(pattern, filter_)
    assert match
    numbers, known, texts = (group.replace("\\\\", "\\") for group in match.groups())
    # Loki leaves out a number of 0.
    label = str(number) if number else ""
    by_text = not re.fullmatch(known, label) and re.fullmatch(texts, text)
    return bool(re.fullmatch(numbers, label) or by_text)


@pytest.mark.parametrize(("text", "number", "level"), CASES)
def test_loki_is_asked_for_the_same_levels(text: str, number: int, level: str) -> None:
    """The filter for Loki selects the same records as the level of a record."""
    found = [wanted for wanted in LEVEL_TEXTS if matches_logql(logql_filter(wanted), text, number)]
    assert found == ([level] if level else [])
