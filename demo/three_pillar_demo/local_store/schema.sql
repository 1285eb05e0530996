-- What embedded keeps. Tables are for machines: ids as bytes, names once. The views below are for people.
-- Times are nanoseconds since the epoch, attributes and labels JSON objects.

CREATE TABLE source (  -- who speaks: one row for each resource and scope
  id INTEGER PRIMARY KEY,
  service TEXT NOT NULL,
  instance TEXT NOT NULL,
  resource TEXT NOT NULL,
  scope TEXT NOT NULL,
  seen INTEGER NOT NULL,  -- the hour it last spoke, in seconds since the epoch; one that is silent for long is forgotten
  UNIQUE (service, instance, resource, scope)
);

CREATE TABLE span (
  trace_id BLOB NOT NULL,
  span_id BLOB NOT NULL,
  parent_id BLOB,
  source INTEGER NOT NULL,
  name TEXT NOT NULL,
  kind INTEGER NOT NULL,    -- OTLP's number: 1 INTERNAL, 2 SERVER, 3 CLIENT, 4 PRODUCER, 5 CONSUMER
  start INTEGER NOT NULL,
  duration INTEGER NOT NULL,
  status INTEGER NOT NULL,  -- OTLP's number: 0 UNSET, 1 OK, 2 ERROR
  message TEXT NOT NULL,
  attributes TEXT NOT NULL,
  events TEXT NOT NULL      -- a JSON array of objects: name, time, attributes
);
CREATE INDEX span_trace ON span (trace_id);
-- The two that every page asks: failed and slow requests, and who called whom, without opening a row.
CREATE INDEX span_server ON span (start, duration, source, status, trace_id, parent_id) WHERE kind = 2;
CREATE INDEX span_client ON span (trace_id, span_id, source, status) WHERE kind = 3;

CREATE TABLE log (
  time INTEGER NOT NULL,
  trace_id BLOB,
  span_id BLOB,
  source INTEGER NOT NULL,
  severity INTEGER NOT NULL,  -- OTLP's number, 1 to 24
  severity_text TEXT NOT NULL,
  body TEXT NOT NULL,
  attributes TEXT NOT NULL
);
CREATE INDEX log_trace ON log (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX log_time ON log (time, severity_text, source);

CREATE TABLE series (  -- names and labels are those that Prometheus would give
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,    -- counter, gauge or histogram
  labels TEXT NOT NULL,
  bounds TEXT NOT NULL,  -- of a histogram: the upper bounds of its buckets, without the last one, which has none
  born INTEGER NOT NULL, -- the time of its first point
  UNIQUE (name, kind, labels, bounds)
);

CREATE TABLE point (
  series INTEGER NOT NULL,
  time INTEGER NOT NULL,
  start INTEGER NOT NULL,  -- since when it counts
  value REAL NOT NULL,     -- of a histogram: the sum of what was measured
  count INTEGER,           -- of a histogram: how often
  buckets TEXT,            -- of a histogram: how often in each bucket
  PRIMARY KEY (series, time)
) WITHOUT ROWID;

CREATE TABLE exemplar (
  series INTEGER NOT NULL,
  time INTEGER NOT NULL,
  trace_id BLOB NOT NULL,
  span_id BLOB NOT NULL,
  value REAL NOT NULL
);
CREATE INDEX exemplar_time ON exemplar (time);

CREATE TABLE batch (digest BLOB PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;  -- what is sent twice is stored once
CREATE TABLE tally (signal TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;  -- counting rows would be a scan
INSERT INTO tally VALUES ('spans', 0), ('lines', 0), ('points', 0);

CREATE VIEW spans AS SELECT
  lower(hex(trace_id)) AS trace_id, lower(hex(span_id)) AS span_id, lower(hex(parent_id)) AS parent_id, service, name,
  CASE kind WHEN 1 THEN 'INTERNAL' WHEN 2 THEN 'SERVER' WHEN 3 THEN 'CLIENT' WHEN 4 THEN 'PRODUCER' WHEN 5 THEN 'CONSUMER'
    ELSE 'UNSPECIFIED' END AS kind,
  start, duration, CASE status WHEN 1 THEN 'OK' WHEN 2 THEN 'ERROR' ELSE 'UNSET' END AS status, message, attributes, events,
  resource, scope
FROM span JOIN source ON source.id = span.source;

CREATE VIEW lines AS SELECT
  time, lower(hex(trace_id)) AS trace_id, lower(hex(span_id)) AS span_id, service, severity_text AS severity, body, attributes,
  resource
FROM log JOIN source ON source.id = log.source;

CREATE VIEW points AS SELECT
  name, json_extract(labels, '$.service_name') AS service, labels, kind, time, value, count, bounds, buckets
FROM point JOIN series ON series.id = point.series;

CREATE VIEW exemplars AS SELECT
  name, json_extract(labels, '$.service_name') AS service, labels, time, value, lower(hex(trace_id)) AS trace_id,
  lower(hex(span_id)) AS span_id
FROM exemplar JOIN series ON series.id = exemplar.series;
