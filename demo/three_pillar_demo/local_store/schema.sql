-- The tables and views of the local store's file.
-- The tables are for programs: ids are bytes, and each name is stored once. The views at the end are
-- for people. Times and durations are nanoseconds, times since the epoch. Attributes, resources,
-- scopes and labels are JSON objects.

CREATE TABLE source (  -- the sender of records: one row for each resource and instrumentation scope
  id INTEGER PRIMARY KEY,
  service TEXT NOT NULL,
  instance TEXT NOT NULL,
  resource TEXT NOT NULL,
  scope TEXT NOT NULL,
  seen INTEGER NOT NULL,  -- the hour of its last record, in seconds since the epoch, for retention
  UNIQUE (service, instance, resource, scope)
);

CREATE TABLE span (
  trace_id BLOB NOT NULL,
  span_id BLOB NOT NULL,
  parent_id BLOB,           -- NULL for a root span
  source INTEGER NOT NULL,
  name TEXT NOT NULL,
  kind INTEGER NOT NULL,    -- OTLP's number: 1 INTERNAL, 2 SERVER, 3 CLIENT, 4 PRODUCER, 5 CONSUMER
  start INTEGER NOT NULL,
  duration INTEGER NOT NULL,
  status INTEGER NOT NULL,  -- OTLP's number: 0 UNSET, 1 OK, 2 ERROR
  message TEXT NOT NULL,    -- the description of the status
  attributes TEXT NOT NULL,
  events TEXT NOT NULL,     -- a JSON array of objects: name, time, attributes, dropped_attributes if any
  links TEXT NOT NULL,      -- a JSON array of objects: trace_id, span_id, trace_state, flags, attributes,
                            -- dropped_attributes
  trace_state TEXT NOT NULL,
  flags INTEGER NOT NULL,
  dropped_attributes INTEGER NOT NULL,  -- how many attributes, events and links the sender or the store
  dropped_events INTEGER NOT NULL,      -- has dropped
  dropped_links INTEGER NOT NULL
);
CREATE INDEX span_trace ON span (trace_id);
-- These two answer the most frequent queries, failed and slow requests and the service graph, from
-- the index alone.
CREATE INDEX span_server ON span (start, duration, source, status, trace_id, parent_id) WHERE kind = 2;
CREATE INDEX span_client ON span (trace_id, span_id, source, status) WHERE kind = 3;

CREATE TABLE log (
  time INTEGER NOT NULL,
  trace_id BLOB,              -- NULL, as is span_id, for a record outside of a trace
  span_id BLOB,
  source INTEGER NOT NULL,
  severity INTEGER NOT NULL,  -- OTLP's number, 1 to 24; 0 if it is not known
  severity_text TEXT NOT NULL,
  body TEXT NOT NULL,
  attributes TEXT NOT NULL,
  observed INTEGER NOT NULL,  -- the time at which the record was collected; 0 if it is not known
  event_name TEXT NOT NULL,
  flags INTEGER NOT NULL,
  dropped_attributes INTEGER NOT NULL
);
CREATE INDEX log_trace ON log (trace_id) WHERE trace_id IS NOT NULL;
-- The index alone tells which of a million records are of a level and of a service.
CREATE INDEX log_time ON log (time, severity, severity_text, source);

CREATE TABLE series (  -- a metric stream: a metric with one set of labels, both named as in Prometheus
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,    -- counter, gauge, histogram, exponential_histogram or summary
  labels TEXT NOT NULL,
  bounds TEXT NOT NULL,  -- of a histogram: a JSON array of the buckets' upper bounds, without +Inf
  born INTEGER NOT NULL, -- the time of its first point
  identity BLOB NOT NULL,  -- a digest of all that identifies the stream in OTLP, and of the bounds
  start INTEGER NOT NULL,  -- 0, or the start of a second sender that cannot be told from the first
  instrument INTEGER NOT NULL DEFAULT 0,  -- 0 if it is not known, in a file of schema version 3
  UNIQUE (identity, start)
);
CREATE INDEX series_name ON series (name);

CREATE TABLE instrument (  -- what a sender says about a metric, whose series name it
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,    -- as it was sent, such as http.server.request.duration
  kind TEXT NOT NULL,    -- counter, up_down_counter, gauge, histogram, exponential_histogram or summary
  unit TEXT NOT NULL,    -- as it was sent: s, By, {request}; empty if none was sent
  description TEXT NOT NULL,
  UNIQUE (name, kind, unit, description)
);

CREATE TABLE point (
  series INTEGER NOT NULL,
  time INTEGER NOT NULL,
  start INTEGER NOT NULL,  -- the time since which a cumulative value counts
  value REAL,              -- of a histogram or summary: the sum of the observations; NULL if not sent
  count INTEGER,           -- of a histogram or summary: the number of observations
  buckets TEXT,            -- JSON: of a histogram the number of observations in each bucket, of an
                           -- exponential histogram an object, of a summary pairs of quantile and value
  min REAL,                -- of a histogram: the smallest and the largest observation; NULL if not sent
  max REAL,
  PRIMARY KEY (series, time)
) WITHOUT ROWID;

CREATE TABLE exemplar (
  series INTEGER NOT NULL,
  time INTEGER NOT NULL,
  trace_id BLOB NOT NULL,  -- empty, as is span_id, if the trace is not known
  span_id BLOB NOT NULL,
  value REAL NOT NULL
);
CREATE INDEX exemplar_time ON exemplar (time);

-- The digests of recent requests, with their time in seconds: a request sent again is stored once.
-- The third column has the reasons for which the store has rejected points of it, as a JSON object.
CREATE TABLE batch (digest BLOB PRIMARY KEY, time INTEGER NOT NULL, rejected TEXT NOT NULL) WITHOUT ROWID;
-- The totals of records stored since the file was created; counting the rows would be a full scan.
CREATE TABLE tally (signal TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO tally VALUES ('spans', 0), ('lines', 0), ('points', 0);

CREATE VIEW spans AS SELECT
  lower(hex(trace_id)) AS trace_id, lower(hex(span_id)) AS span_id, lower(hex(parent_id)) AS parent_id,
  service, name,
  CASE kind WHEN 1 THEN 'INTERNAL' WHEN 2 THEN 'SERVER' WHEN 3 THEN 'CLIENT' WHEN 4 THEN 'PRODUCER'
    WHEN 5 THEN 'CONSUMER' ELSE 'UNSPECIFIED' END AS kind,
  start, duration, CASE status WHEN 1 THEN 'OK' WHEN 2 THEN 'ERROR' ELSE 'UNSET' END AS status, message,
  attributes, events, resource, scope, links, trace_state, flags, dropped_attributes, dropped_events,
  dropped_links
FROM span JOIN source ON source.id = span.source;

CREATE VIEW lines AS SELECT  -- log records
  time, lower(hex(trace_id)) AS trace_id, lower(hex(span_id)) AS span_id, service, severity_text AS severity,
  body, attributes, resource, scope, observed, event_name, flags, dropped_attributes
FROM log JOIN source ON source.id = log.source;

CREATE VIEW points AS SELECT
  name, json_extract(labels, '$.service_name') AS service, labels, kind, time, value, count, bounds, buckets,
  min, max
FROM point JOIN series ON series.id = point.series;

CREATE VIEW exemplars AS SELECT
  name, json_extract(labels, '$.service_name') AS service, labels, time, value,
  lower(hex(trace_id)) AS trace_id, lower(hex(span_id)) AS span_id
FROM exemplar JOIN series ON series.id = exemplar.series;
