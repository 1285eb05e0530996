"""Tests of the LogQL queries for a search, and of how their results are put together."""

import asyncio
import re

import pytest

from three_pillar_demo.query.interface import LogRecord
from three_pillar_demo.query.lgtm_logs import KEYWORDS, NAMING_RECORDS, logql, search_logs
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.severity import logql_filter

ANY = '{service_name=~".+"}'
RENAMED = '| label_format field_offset="{{.offset}}"'


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        (LogFilter(), ANY),
        (LogFilter('a "b"', "WARN"), rf'{{service_name="a \"b\""}} | {logql_filter("WARN")}'),
        (LogFilter(text="AB" * 16), f'{ANY} | trace_id="{"ab" * 16}"'),
        (LogFilter(text="words"), ANY),
        (
            LogFilter(attributes=(("http.route", "/a"), ("9x", "1"))),
            f'{ANY} | http_route="/a" | key_9x="1"',
        ),
        (
            LogFilter(attributes=(("offset", "1"),)),
            f'{ANY} {RENAMED} | field_offset="1" | drop field_offset',
        ),
    ],
)
def test_conditions_are_written_in_logql(wanted: LogFilter, query: str) -> None:
    """Each condition becomes one of LogQL; a keyword gets another name for its condition."""
    assert logql(wanted) == query


class Loki:
    """Answers a query with the records of the first pattern in ``answers`` that it contains."""

    def __init__(self, answers: dict[str, list[LogRecord]]) -> None:
        """Answer with nothing else."""
        self.answers = answers
        self.queries: list[tuple[str, int, int]] = []

    async def logql(  # noqa: PLR0913  (as in HttpClients)
        self,
        query: str,
        start: float,
        end: float,
        limit: int = 1000,
        *,
        newest: bool = False,
        until: int = 0,
    ) -> list[LogRecord]:
        """Return the answer to a query, within the limit."""
        assert newest
        assert start < end
        self.queries.append((query, limit, until))
        found = [records for part, records in self.answers.items() if re.search(part, query)]
        return (found or [[]])[0][:limit]


def record(time: int, body: str, **fields: str) -> LogRecord:
    """Return a record as Loki has it."""
    return LogRecord(time, "web", "INFO", body, {"service_name": "web", **fields})


def test_a_text_is_searched_in_the_body_and_in_the_fields() -> None:
    """The fields of the newest records are searched; what has the text twice is found once."""
    both = record(2, "a.b", net="A.B")
    in_field = record(1, "", net="A.B", offset="7")
    naming = [both, in_field, record(0, "", **{"trace_id": "x", "flags": "1", "no name": "1"})]
    loki = Loki({"net=~": [both, in_field], r"\|~": [record(3, "A.B"), both], "": naming})
    found = asyncio.run(search_logs(loki, 0, 1, LogFilter(text="a.b", until=5), 50))
    assert [item.time for item in found] == [3, 2, 1]
    pattern = r'=~"(?is).*a\\.b.*"'
    in_fields = " or ".join(
        f"{name}{pattern}" for name in ("service_name", "net", "field_offset", "trace_id")
    )
    assert loki.queries == [
        (ANY, NAMING_RECORDS, 5),
        (rf'{ANY} |~ "(?is)a\\.b"', 50, 5),
        (
            f"{ANY} {RENAMED} | ({in_fields}) | drop field_offset",
            50,
            5,
        ),
    ]
    assert "offset" in KEYWORDS


def test_a_record_with_many_fields_hides_no_other() -> None:
    """The fields that most records have are searched first, as many as fit into an address."""
    many = record(1, "", **{f"a_{number}": "x" for number in range(2_000)})
    usual = [record(2, "", net="visa"), record(3, "", net="visa")]
    loki = Loki({"": [*usual, many]})
    asyncio.run(search_logs(loki, 0, 1, LogFilter(text="visa"), 50))
    [condition] = [query for query, _, _ in loki.queries if " or " in query]
    assert 'net=~"(?is).*visa.*"' in condition
    assert condition.count(" or ") > 200
    assert len(condition) < 20_000


def test_no_records_need_no_further_query() -> None:
    """Without records there are no fields to name, and the result is empty."""
    loki = Loki({})
    assert asyncio.run(search_logs(loki, 0, 1, LogFilter(text="x"), 50)) == []
    assert all("()" not in query for query, _, _ in loki.queries)


def test_records_shown_before_are_skipped() -> None:
    """Of the records with the time of the last one, those that were shown are left out."""
    records = [record(9, name) for name in "cab"] + [record(8, "d")]
    found = asyncio.run(
        search_logs(Loki({"": records}), 0, 1, LogFilter(until=9, skipped=2), 2),
    )
    assert [item.body for item in found] == ["c", "d"]
    # The records have been deleted meanwhile: none of the older ones is left out.
    found = asyncio.run(
        search_logs(Loki({"": records[3:]}), 0, 1, LogFilter(until=9, skipped=2), 2),
    )
    assert [item.body for item in found] == ["d"]
