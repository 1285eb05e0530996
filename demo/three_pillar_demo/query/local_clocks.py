"""Finds the services in the local store's file of which all records are dated ahead."""

import json
from collections.abc import Sequence

from three_pillar_demo.query.arrivals import nanoseconds
from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.local_arrivals import IS_REQUEST
from three_pillar_demo.query.sqlite_reader import SqliteReader

MAX_RECORDS = 5_000
"""The number of spans, and of log records, that are examined at most."""

# SERVER spans and log records have an index by their time; other requests are searched in what has
# arrived last.
SELECT_AHEAD = f"""SELECT service, max(time) FROM (
  SELECT * FROM (SELECT source, start + duration AS time FROM span INDEXED BY span_server
    WHERE kind = 2 AND start > :end ORDER BY start DESC LIMIT {MAX_RECORDS})
  UNION ALL
  SELECT source, start + duration FROM span
    WHERE span.rowid > (SELECT max(rowid) - {MAX_RECORDS} FROM span)
    AND start > :end AND {IS_REQUEST}
  UNION ALL
  SELECT * FROM (SELECT source, time FROM log WHERE time > :end ORDER BY time DESC
    LIMIT {MAX_RECORDS})
) AS record JOIN source ON source.id = record.source
WHERE service IN (SELECT value FROM json_each(:names)) GROUP BY service"""  # noqa: S608  (of constants)
SELECT_WITH_LOGS = """SELECT DISTINCT service FROM log CROSS JOIN source ON source.id = log.source
WHERE time BETWEEN :start AND :end AND service IN (SELECT value FROM json_each(:names))"""


async def seconds_ahead(
    reader: SqliteReader, start: float, end: float, names: Sequence[str]
) -> dict[str, float]:
    """Return how far the newest records of services are ahead of ``end``, in seconds, by service.

    ``names`` are services without a request from ``start`` to ``end``. Those that have a log record
    in this time, or none ahead, are left out.
    """
    if not names:
        return {}
    parameters = {
        "start": nanoseconds(start),
        "end": nanoseconds(end),
        "names": json.dumps(list(names)),
    }
    newest = dict(await reader.fetch(SELECT_AHEAD, parameters))
    if newest:
        parameters["names"] = json.dumps(list(newest))
        for (name,) in await reader.fetch(SELECT_WITH_LOGS, parameters):
            del newest[name]
    return {name: time / NANO - end for name, time in newest.items()}
