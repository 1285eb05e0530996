"""SELECT statements for the service map, from the tables of local_store/schema.sql."""

import json
from collections.abc import Iterable

from three_pillar_demo.query import callee_names

MAX_GROUPS = 2_000
"""The number of groups of equal calls, the largest ones, that are read."""
MAX_CALLED = 4_000
"""The number of characters of the attributes of a call, in JSON, up to which they are read."""
SERVER_SPANS_SCANNED = 20_000
"""The number of SERVER spans, the newest ones, among which the address of a service is searched."""

ATTRIBUTES = (
    *callee_names.PEER_SERVICES,
    *callee_names.DATABASE_SYSTEMS,
    *callee_names.DATABASE_NAMES,
    *callee_names.MESSAGING_SYSTEMS,
    *callee_names.DESTINATIONS,
    *callee_names.HOSTS,
    *callee_names.PORTS,
    *callee_names.RPC_SERVICES,
    "error.type",
)
"""The attributes of a call that are read as they are; of a URL only the origin is."""


def _extract(names: Iterable[str]) -> str:
    """Return the SQL expression for a JSON array with the values of attributes, null if missing."""
    paths = ", ".join(f"'$.\"{name}\"'" for name in names)
    return f"json_extract(attributes, {paths})"


def _origin(name: str) -> str:
    """Return the SQL expression for the part of a URL before its path, such as ``http://a:80``."""
    url = f"json_extract(attributes, '$.\"{name}\"')"
    after_scheme = f"instr({url}, '://') + 3"
    end = f"instr(substr({url}, {after_scheme}) || '/', '/')"
    return f"substr({url}, 1, min({after_scheme} - 2 + {end}, {MAX_CALLED}))"


NO_HOST = json.dumps([None for _ in callee_names.HOSTS], separators=(",", ":"))
ORIGIN = f"coalesce({', '.join(_origin(name) for name in callee_names.URLS)}, '')"
CALLED = f"""iif(length({_extract(ATTRIBUTES)}) > {MAX_CALLED}, '[]', {_extract(ATTRIBUTES)})
|| char(10) || iif({_extract(callee_names.HOSTS)} = '{NO_HOST}', {ORIGIN}, '')"""
"""The SQL expression for the attributes of a call: a JSON array, in the order of ``ATTRIBUTES``,
and in a second line the origin of its URL, if it names no host otherwise."""
SELECT_OLDEST = "SELECT start FROM span ORDER BY rowid LIMIT 1"
SELECT_BOUNDARY = """SELECT start + duration FROM span
WHERE rowid BETWEEN (SELECT max(rowid) FROM span) - :scanned - :compared + 1
AND (SELECT max(rowid) FROM span) - :scanned
ORDER BY start + duration LIMIT 1 OFFSET :compared / 2"""
# A span of kind 2 or 5 (SERVER, CONSUMER) is the other end of its parent of kind 3 or 4 (CLIENT,
# PRODUCER). A call within a call, such as that of urllib3 within requests, counts once: as the one
# that has arrived, or else as the outer one. Requests and calls are one statement, because reading
# the spans is what takes most of the time.
SELECT_REQUESTS_AND_CALLS = f"""WITH recent AS MATERIALIZED (
  SELECT rowid AS number, trace_id, span_id, parent_id, source, kind, start,
    start + duration AS ended, status = 2 AS failed
  FROM span WHERE rowid > (SELECT max(rowid) FROM span) - :scanned
    AND (kind BETWEEN 2 AND 5 OR parent_id IS NULL)
), request AS (
  SELECT recent.source, count(*) AS requests, sum(recent.failed) AS failed,
    recent.kind IN (2, 5) AND recent.parent_id IS NULL AS is_root,
    CASE WHEN recent.kind = 5 AND recent.parent_id IS NULL THEN {CALLED} END AS queue
  FROM recent LEFT JOIN span ON recent.kind = 5 AND span.rowid = number
  WHERE recent.start BETWEEN :start AND :end AND (recent.kind IN (2, 5) OR recent.parent_id IS NULL)
  GROUP BY recent.source, is_root, queue ORDER BY requests DESC LIMIT {MAX_GROUPS}
), served AS MATERIALIZED (
  SELECT trace_id, parent_id, source, failed FROM recent
  WHERE kind IN (2, 5) AND parent_id IS NOT NULL
), made AS MATERIALIZED (
  SELECT recent.*, served.source AS callee, served.failed AS failed_there
  FROM recent LEFT JOIN served
    ON served.trace_id = recent.trace_id AND served.parent_id = recent.span_id
  WHERE recent.kind IN (3, 4)
), unanswered AS MATERIALIZED (
  SELECT * FROM made WHERE callee IS NULL AND start BETWEEN :start AND :end
), described AS (
  SELECT *, NULL AS called FROM made WHERE callee IS NOT NULL AND start BETWEEN :start AND :end
  UNION ALL
  SELECT unanswered.*, {CALLED}
  FROM unanswered
  LEFT JOIN made AS outer_call
    ON outer_call.trace_id = unanswered.trace_id AND outer_call.span_id = unanswered.parent_id
  LEFT JOIN made AS inner_call
    ON inner_call.trace_id = unanswered.trace_id AND inner_call.parent_id = unanswered.span_id
    AND inner_call.callee IS NOT NULL
  JOIN span ON span.rowid = unanswered.number
  WHERE outer_call.number IS NULL AND inner_call.number IS NULL
), call AS (
  SELECT source AS caller, callee, kind = 4 AS is_message, count(*) AS calls,
    sum(failed OR failed_there IS 1) AS failed, coalesce(sum(failed_there), 0) AS failed_there,
    callee IS NULL AND ended >= :complete AS is_new, called, max(number) AS newest
  FROM described GROUP BY caller, callee, is_message, is_new, called
  ORDER BY calls DESC LIMIT {MAX_GROUPS}
)
SELECT 0, service, requests, failed, is_root, queue, NULL, NULL, NULL
FROM request JOIN source ON source.id = request.source
UNION ALL
SELECT 1, caller.service, callee.service, is_message, calls, failed, failed_there, is_new,
  coalesce(called, (SELECT {CALLED} FROM span WHERE span.rowid = newest))
FROM call JOIN source AS caller ON caller.id = call.caller
LEFT JOIN source AS callee ON callee.id = call.callee"""  # noqa: S608  (of constants)
"""The first column of a row is 1 for calls, and 0 for requests, which have three columns less."""
# The address of each instance of a service, from one earlier call of it by each of its callers.
SELECT_ANSWERED = f"""WITH served AS MATERIALIZED (
  SELECT trace_id, parent_id, source FROM span INDEXED BY span_server
  WHERE kind = 2 AND parent_id IS NOT NULL AND start BETWEEN :start AND :end
  ORDER BY start DESC LIMIT {SERVER_SPANS_SCANNED}
), example AS (
  SELECT served.source, max(call.rowid) AS number
  FROM served JOIN span AS call INDEXED BY span_client
    ON call.kind = 3 AND call.trace_id = served.trace_id AND call.span_id = served.parent_id
  GROUP BY served.source, call.source LIMIT {MAX_GROUPS}
)
SELECT service, {CALLED} FROM example JOIN span ON span.rowid = number
JOIN source ON source.id = example.source"""  # noqa: S608  (of constants)
