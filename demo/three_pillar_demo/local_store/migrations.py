"""The changes that turn a store's file of an earlier schema version into one of the next version.

A file of any other version is moved aside. ``schema.sql`` has the tables of the newest version.
"""

MIGRATIONS = {
    3: """
    CREATE TABLE instrument (
      id INTEGER PRIMARY KEY,
      name TEXT NOT NULL,
      kind TEXT NOT NULL,
      unit TEXT NOT NULL,
      description TEXT NOT NULL,
      UNIQUE (name, kind, unit, description)
    );
    ALTER TABLE series ADD COLUMN instrument INTEGER NOT NULL DEFAULT 0;
    DROP INDEX log_time;
    CREATE INDEX log_time ON log (time, severity, severity_text, source);
    """,
}
"""The SQL statements that a file needs, by its version; afterwards it has the next version."""
