"""SELECT statements for the service map, from the tables of local_store/schema.sql."""

from three_pillar_demo.query import callee_names

MAX_GROUPS = 2_000
"""The number of groups of equal calls, the largest ones, that are read."""
MAX_TEXT = 255
"""The number of characters of an attribute that are read."""
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


def _text(name: str) -> str:
    return f"substr(json_extract(attributes, '$.\"{name}\"'), 1, {MAX_TEXT})"


def _origin(name: str) -> str:
    """Return the SQL expression for the part of a URL before its path, such as ``http://a:80``."""
    url = _text(name)
    after_scheme = f"instr({url}, '://') + 3"
    return (
        f"substr({url}, 1, {after_scheme} - 2 + instr(substr({url}, {after_scheme}) || '/', '/'))"
    )


HAS_HOST = f"coalesce({', '.join(_text(name) for name in callee_names.HOSTS)}) IS NOT NULL"
ORIGINS = ", ".join(
    f"CASE WHEN {HAS_HOST} THEN NULL ELSE {_origin(name)} END" for name in callee_names.URLS
)
CALLED = f"json_array({', '.join(_text(name) for name in ATTRIBUTES)}, {ORIGINS})"
"""The SQL expression for the attributes of a call, in the order of ``CALLED_NAMES``."""
CALLED_NAMES = (*ATTRIBUTES, *callee_names.URLS)
SELECT_BOUNDARY = """SELECT start + duration FROM span
WHERE rowid BETWEEN (SELECT max(rowid) FROM span) - :scanned - :compared + 1
AND (SELECT max(rowid) FROM span) - :scanned
ORDER BY start + duration LIMIT 1 OFFSET :compared / 2"""
# A span of kind 2 or 5 (SERVER, CONSUMER) is the other end of its parent of kind 3 or 4 (CLIENT,
# PRODUCER). A call within a call, such as that of urllib3 within requests, counts once: as the one
# that has arrived, or else as the outer one.
WITH_RECENT = """WITH recent AS MATERIALIZED (
  SELECT rowid AS number, trace_id, span_id, parent_id, source, kind, start,
    start + duration AS ended, status = 2 AS failed
  FROM span WHERE rowid > (SELECT max(rowid) FROM span) - :scanned
    AND (kind BETWEEN 2 AND 5 OR parent_id IS NULL))"""
SELECT_REQUESTS = f"""{WITH_RECENT}
SELECT service, requests, failed, is_root, queue FROM (
  SELECT recent.source, count(*) AS requests, sum(recent.failed) AS failed,
    recent.kind IN (2, 5) AND recent.parent_id IS NULL AS is_root,
    CASE WHEN recent.kind = 5 AND recent.parent_id IS NULL THEN {CALLED} END AS queue
  FROM recent LEFT JOIN span ON recent.kind = 5 AND span.rowid = number
  WHERE recent.start BETWEEN :start AND :end AND (recent.kind IN (2, 5) OR recent.parent_id IS NULL)
  GROUP BY recent.source, is_root, queue ORDER BY requests DESC LIMIT {MAX_GROUPS}
) AS request JOIN source ON source.id = request.source"""  # noqa: S608  (of constants)
SELECT_CALLS = f"""{WITH_RECENT}, served AS MATERIALIZED (
  SELECT trace_id, parent_id, source, failed FROM recent
  WHERE kind IN (2, 5) AND parent_id IS NOT NULL
), made AS MATERIALIZED (
  SELECT recent.*, served.source AS callee, served.failed AS failed_there
  FROM recent LEFT JOIN served
    ON served.trace_id = recent.trace_id AND served.parent_id = recent.span_id
  WHERE recent.kind IN (3, 4)
), grouped AS (
  SELECT made.source AS caller, callee, made.kind = 4 AS is_message, count(*) AS calls,
    sum(made.failed OR failed_there IS 1) AS failed, coalesce(sum(failed_there), 0) AS failed_there,
    callee IS NULL AND ended >= :complete AS is_new,
    CASE WHEN callee IS NULL THEN {CALLED} END AS called, max(number) AS newest
  FROM made LEFT JOIN span ON callee IS NULL AND span.rowid = number
  WHERE made.start BETWEEN :start AND :end AND (callee IS NOT NULL OR (
    (made.trace_id, coalesce(made.parent_id, x'')) NOT IN (SELECT trace_id, span_id FROM made)
    AND (made.trace_id, made.span_id) NOT IN (SELECT trace_id, coalesce(parent_id, x'') FROM made
      WHERE callee IS NOT NULL)))
  GROUP BY caller, callee, is_message, is_new, called ORDER BY calls DESC LIMIT {MAX_GROUPS}
)
SELECT caller.service, callee.service, is_message, calls, failed, failed_there, is_new,
  coalesce(called, (SELECT {CALLED} FROM span WHERE span.rowid = newest))
FROM grouped JOIN source AS caller ON caller.id = grouped.caller
LEFT JOIN source AS callee ON callee.id = grouped.callee"""  # noqa: S608  (of constants)
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
