"""A database of twelve migrations, three of which are undone."""

from __future__ import annotations

from logcaster_guard.domain.database.migrating import Script
from tests.real.postgresql import PostgreSQL, RealDatabase

TWELVE = """
    CREATE TABLE logs (id bigint PRIMARY KEY, line text NOT NULL);
    INSERT INTO logs SELECT i, md5(i::text) FROM generate_series(1, {rows}) i;
    CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
    INSERT INTO schema_migrations VALUES (12, false);
"""
UP = "ALTER TABLE logs ADD COLUMN c{0} int DEFAULT {0}; CREATE TABLE t{0} AS SELECT {0} AS id;"
DOWN = "ALTER TABLE logs DROP COLUMN c{0}; DROP TABLE t{0}; SELECT pg_sleep(0.01);"
BACK_TO_9 = tuple(Script(f"{n}_step.down.sql", DOWN.format(n), n - 1) for n in (12, 11, 10))
SHAPE = """
    SELECT (SELECT string_agg(relname || '.' || attname, ' ' ORDER BY relname, attnum)
              FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped)
           || (SELECT format(' %s %s', version, dirty) FROM schema_migrations)
"""
ROWS = "SELECT format('%s %s', count(*), md5(string_agg(id || line, '' ORDER BY id))) FROM logs"


def at_twelve(server: PostgreSQL, rows: int = 1000) -> RealDatabase:
    """A database that twelve migrations have made, each of them a column and a table."""
    raw = server.new_database()
    raw.run(TWELVE.format(rows=rows) + "".join(UP.format(n) for n in range(1, 13)))
    return raw


def shape(raw: RealDatabase) -> tuple[object, object]:
    return raw.value(SHAPE), raw.value(ROWS)
