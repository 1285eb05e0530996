"""Searches Loki for log records: by service, level, attribute or text."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol

from three_pillar_demo.query.interface import LogRecord
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.severity import logql_filter

NAMING_RECORDS = 200
"""The number of records, the newest ones, whose fields are searched for a text.

LogQL has no condition for any field: each has to be named.
"""
MAX_CONDITION = 15_000
"""The number of characters of the condition for the fields, which is a part of an address."""
NOT_SEARCHED = {"severity_number", "observed_timestamp", "flags", "detected_level"}
"""Fields whose values nobody writes into a search field."""
SEARCH_LIMIT = (
    f"Loki finds a text in the body, and in the fields that the newest {NAMING_RECORDS} records "
    "of the service and level have."
)
"""What ``Backends.log_search_limit`` says of Loki."""
FIELD_NAME = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")
KEYWORDS = {
    "and",
    "bool",
    "by",
    "decolorize",
    "distinct",
    "drop",
    "group_left",
    "group_right",
    "ignoring",
    "json",
    "keep",
    "label_format",
    "line_format",
    "logfmt",
    "of",
    "offset",
    "on",
    "or",
    "pattern",
    "regexp",
    "unless",
    "unpack",
    "unwrap",
    "variants",
    "without",
}
"""The words that LogQL does not accept as the name of a field in a condition."""


class LokiQuery(Protocol):
    """The query of Loki that this module needs."""

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
        """Return the oldest, or the newest, log records that match a LogQL query."""


async def search_logs(
    client: LokiQuery, start: float, end: float, wanted: LogFilter, limit: int
) -> list[LogRecord]:
    """Return the newest ``limit`` log records that ``wanted`` describes, newest first."""
    count = limit + wanted.skipped

    async def newest(query: str, count: int = count) -> list[LogRecord]:
        return await client.logql(query, start, end, count, newest=True, until=wanted.until)

    query = logql(wanted)
    if not wanted.text or wanted.trace_id:
        found = await newest(query)
    else:
        # Those with the text in the body, and those with the text in a field.
        naming = await newest(query, NAMING_RECORDS)
        in_field = query + _text_filter(field_names(naming), wanted.text)
        in_body = f"{query} |~ {quoted(f'(?is){re.escape(wanted.text)}')}"
        results = await asyncio.gather(newest(in_body), *([newest(in_field)] if naming else []))
        found = _distinct(record for records in results for record in records)
    # The order of records with the same time must be the same each time.
    ordered = sorted(found, key=lambda record: (-record.time, record.body, *_fields(record)))
    of_last_time = 0
    while of_last_time < len(ordered) and ordered[of_last_time].time == wanted.until:
        of_last_time += 1
    return ordered[min(wanted.skipped, of_last_time) :][:limit]


def logql(wanted: LogFilter) -> str:
    """Return the LogQL query for the records that are wanted, without the condition of the text."""
    service = f"={quoted(wanted.service)}" if wanted.service else '=~".+"'
    conditions = [f"{{service_name{service}}}"]
    if wanted.level:
        conditions.append(logql_filter(wanted.level))
    if wanted.trace_id:
        conditions.append(f"trace_id={quoted(wanted.trace_id)}")
    names = [_field_name(name) for name, _ in wanted.attributes]
    matches = [
        f"{_alias(name)}={quoted(value)}"
        for name, (_, value) in zip(names, wanted.attributes, strict=True)
    ]
    return " | ".join(conditions) + _renaming(names, [f"| {match}" for match in matches])


def field_names(records: Sequence[LogRecord]) -> list[str]:
    """Return the names of the fields that ``records`` have, those that most records have first."""
    counts = Counter(name for record in records for name in record.fields)
    names = [name for name in counts if name not in NOT_SEARCHED and FIELD_NAME.fullmatch(name)]
    return sorted(names, key=lambda name: (-counts[name], name))


def _text_filter(names: Sequence[str], text: str) -> str:
    """Return the stages of LogQL that select the records with ``text`` in one of the fields.

    The last of ``names`` are left out if the condition would be longer than ``MAX_CONDITION``.
    """
    pattern = quoted(f"(?is).*{re.escape(text)}.*")
    alternatives = [f"{_alias(name)}=~{pattern}" for name in names]
    lengths = accumulate(len(alternative) for alternative in alternatives)
    count = sum(length <= MAX_CONDITION for length in lengths)
    return _renaming(names[:count], [f"| ({' or '.join(alternatives[:count])})"])


def _renaming(names: Sequence[str], filters: Sequence[str]) -> str:
    """Return the stages ``filters``, between others that give ``names`` their aliases for them."""
    reserved = sorted(KEYWORDS.intersection(names))
    formats = [f'| label_format {_alias(name)}="{{{{.{name}}}}}"' for name in reserved]
    drops = [f"| drop {_alias(name)}" for name in reserved]
    return "".join(f" {stage}" for stage in [*formats, *filters, *drops])


def _alias(name: str) -> str:
    """Return the name of a field in a condition, which must be no keyword of LogQL."""
    return f"field_{name}" if name in KEYWORDS else name


def _field_name(name: str) -> str:
    """Return the name that Loki gives to an attribute."""
    field = re.sub("[^0-9A-Za-z_]", "_", name)
    return field if FIELD_NAME.fullmatch(field) else f"key_{field}"


def _fields(record: LogRecord) -> list[tuple[str, str]]:
    return sorted(record.fields.items())


def _distinct(records: Iterable[LogRecord]) -> list[LogRecord]:
    """Return ``records`` without those that come a second time; Loki keeps no two equal ones."""
    return list(
        {(record.time, record.body, *_fields(record)): record for record in records}.values()
    )
