"""Searches the local store's file for log records: by service, level, attribute or text."""

import json
import re
from typing import Any

from three_pillar_demo.query import sqlite_rows
from three_pillar_demo.query.arrivals import nanoseconds
from three_pillar_demo.query.interface import LogRecord
from three_pillar_demo.query.local_requests import VALUE_AS_TEXT
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.severity import sql_condition
from three_pillar_demo.query.sqlite_reader import LOWER, SqliteReader

ROWS_SCANNED = (2_000, 20_000, 200_000)
"""The numbers of records, the newest ones, whose text is searched one after the other.

The search ends with the first number of records among which there are enough that match.
"""
SEARCH_LIMIT = (
    f"Text and attributes are searched in the newest {ROWS_SCANNED[-1]:,} records "
    "of the service, level and time chosen."
)
"""What ``Backends.log_search_limit`` says of the local store."""
OF_SERVICE = "source IN (SELECT id FROM source WHERE service = :service)"
PART_OF_ID = re.compile("[0-9a-fA-F]{8,32}")
LIKE_SPECIAL = re.compile(r"[%_\\]")
"""The characters that have a meaning in a pattern of SQL's ``LIKE``."""
NOT_ASCII = re.compile("[^\\x00-\\x7f]")
FIELDS = {
    "trace_id": "lower(hex(trace_id))",
    "span_id": "lower(hex(span_id))",
    "severity_text": "severity_text",
    "severity_number": "CAST(severity AS TEXT)",
    "event_name": "event_name",
}
"""The SQL expressions for the fields of a record that a search can name as an attribute."""


async def search_logs(
    reader: SqliteReader, start: float, end: float, wanted: LogFilter, limit: int
) -> list[LogRecord]:
    """Return the newest ``limit`` log records that ``wanted`` describes, newest first.

    Service, level and time are looked up in an index that has all three, so that all records can be
    examined. Text and attributes are searched in the newest ``ROWS_SCANNED[-1]`` of these.
    """
    conditions, text_conditions, parameters = _conditions(wanted)
    parameters |= {"start": nanoseconds(start), "end": nanoseconds(end), "limit": limit}
    parameters["end"] = min(parameters["end"], wanted.until or parameters["end"])
    parameters["skipped"] = wanted.skipped
    candidates = (
        f"SELECT log.rowid FROM log WHERE {' AND '.join(conditions)} "  # noqa: S608  (of constants)
        "ORDER BY time DESC, log.rowid DESC LIMIT :scanned"
    )
    all_conditions = [f"log.rowid IN ({candidates})", *text_conditions]
    rows: list[Any] = []
    for parameters["scanned"] in ROWS_SCANNED if text_conditions else (limit + wanted.skipped,):
        rows = await reader.fetch(
            f"{sqlite_rows.SELECT_LOG_RECORDS} WHERE {' AND '.join(all_conditions)} "
            "ORDER BY time DESC, log.rowid DESC LIMIT :limit OFFSET :skipped",
            parameters,
        )
        if len(rows) == limit:
            break
    return [sqlite_rows.to_log_record(row) for row in rows]


def _conditions(wanted: LogFilter) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return the SQL conditions that an index answers, the other ones, and their parameters."""
    conditions = ["time BETWEEN :start AND :end"]
    text_conditions = []
    parameters: dict[str, Any] = {}
    if wanted.service:
        conditions.append(OF_SERVICE)
        parameters["service"] = wanted.service
    if wanted.level:
        conditions.append(sql_condition(wanted.level))
    if wanted.trace_id:
        conditions.append("trace_id = :trace_id")
        parameters["trace_id"] = sqlite_rows.id_bytes(wanted.trace_id)
    elif wanted.text:
        text_conditions.append(_text_condition(wanted.text))
        parameters |= _text_parameters(wanted.text)
    for number, (name, value) in enumerate(wanted.attributes):
        text_conditions.append(_attribute_condition(name, number))
        parameters |= {
            f"name_{number}": name,
            f"json_{number}": json.dumps(name, ensure_ascii=False),
            f"value_{number}": value,
        }
    return conditions, text_conditions, parameters


def _text_condition(text: str) -> str:
    """Return the SQL condition for records one of whose fields contains ``text``, in any case.

    The parameters are those of ``_text_parameters``.
    """
    in_attributes = "attributes LIKE :json_pattern ESCAPE '\\'"
    if not text.isascii():
        in_attributes = f"({in_attributes} AND {_contains('attributes', text, is_json=True)})"
    in_source = (
        f"{_contains('resource', text, is_json=True)} OR {_contains('scope', text, is_json=True)} "
        f"OR {_contains('service', text)}"
    )
    alternatives = [
        in_attributes,
        _contains("body", text),
        _contains("severity_text", text),
        _contains("event_name", text),
        f"source IN (SELECT id FROM source WHERE {in_source})",  # noqa: S608  (of constants)
    ]
    if PART_OF_ID.fullmatch(text):
        alternatives += [f"instr({FIELDS[name]}, :lower_text)" for name in ("trace_id", "span_id")]
    return f"({' OR '.join(alternatives)})"


def _contains(column: str, text: str, *, is_json: bool = False) -> str:
    """Return the SQL condition for a column that contains ``text``, in any case.

    SQLite's own function is faster, but knows the case of ASCII letters alone.
    """
    function = "lower" if text.isascii() else LOWER
    return f"instr({function}({column}), {':lower_json' if is_json else ':lower_text'})"


def _text_parameters(text: str) -> dict[str, str]:
    """Return the parameters of ``_text_condition``.

    In the columns with JSON, the text is looked for as JSON writes it. ``LIKE`` is the fastest
    search, but it does not know the case of letters outside of ASCII, which match any character.
    """
    in_json = json.dumps(text, ensure_ascii=False)[1:-1].lower()
    pattern = NOT_ASCII.sub("_", LIKE_SPECIAL.sub(r"\\\g<0>", in_json))
    return {
        "lower_text": text.lower(),
        "lower_json": in_json,
        "json_pattern": f"%{pattern}%",
    }


def _attribute_condition(name: str, number: int) -> str:
    """Return the SQL condition for the attribute, or field, with this name and number."""
    alternatives = [
        f"(instr({column}, :json_{number}) AND EXISTS (SELECT 1 FROM json_each({column}) "  # noqa: S608  (of constants)
        f"WHERE key = :name_{number} AND {VALUE_AS_TEXT} = :value_{number}))"
        for column in ("attributes", "resource")
    ]
    if name in FIELDS:
        alternatives.append(f"{FIELDS[name]} = :value_{number}")
    return f"({' OR '.join(alternatives)})"
