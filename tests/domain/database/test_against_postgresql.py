"""What the guard says of statements before they run, against what PostgreSQL does when they run."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
import pytest

from logcaster_guard.domain.database.migrating import LockMode
from logcaster_guard.domain.database.migrations import MigrationFile, migration_set, read_file
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.statements import functions
from logcaster_guard.domain.database.statements.reading import findings_of
from tests.real.postgresql import ROLE, RealDatabase

SCHEMA = """
    CREATE TABLE a (id int PRIMARY KEY, b text, c int GENERATED ALWAYS AS IDENTITY);
    ALTER TABLE a ADD CONSTRAINT d CHECK (id > 0) NOT VALID;
    CREATE TABLE other (id int, b text);
    CREATE INDEX ai ON a (b);
    CREATE TABLE parts (id int, b text) PARTITION BY LIST (id);
    CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE loose (id int CHECK (id = 2), b text);
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f();
    CREATE POLICY p ON a;
    CREATE SCHEMA s;
"""
STATEMENTS = [
    "DROP TABLE a",
    "TRUNCATE a",
    "DELETE FROM a WHERE id IN (SELECT id FROM other)",
    "UPDATE a SET b = other.b FROM other WHERE a.id = other.id",
    "INSERT INTO a (id) SELECT id FROM other",
    "MERGE INTO a USING other ON a.id = other.id WHEN MATCHED THEN DELETE",
    "SELECT 1 FROM a, other FOR UPDATE OF a",
    "ALTER TABLE a ADD x int",
    "ALTER TABLE a DROP b",
    "ALTER TABLE a ALTER b TYPE varchar(5)",
    "ALTER TABLE a ALTER b SET NOT NULL, ALTER b SET DEFAULT 'x'",
    "ALTER TABLE a ALTER b SET STATISTICS 10",
    "ALTER TABLE a ALTER b SET STORAGE EXTERNAL",
    "ALTER TABLE a VALIDATE CONSTRAINT d",
    "ALTER TABLE a DROP CONSTRAINT d",
    "ALTER TABLE other ADD FOREIGN KEY (id) REFERENCES a",
    "ALTER TABLE other ADD x int REFERENCES a",
    "ALTER TABLE a ADD CHECK (id < 9)",
    "ALTER TABLE a DISABLE TRIGGER t",
    "ALTER TABLE a ENABLE TRIGGER USER",
    "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE a ALTER c DROP IDENTITY",
    "ALTER TABLE a SET (fillfactor = 50)",
    "ALTER TABLE a REPLICA IDENTITY FULL",
    "ALTER TABLE a RENAME TO x",
    "ALTER TABLE a RENAME b TO x",
    "ALTER TABLE a RENAME CONSTRAINT d TO x",
    "ALTER TABLE a SET SCHEMA s",
    "ALTER TABLE parts ATTACH PARTITION loose FOR VALUES IN (2)",
    "ALTER TABLE parts DETACH PARTITION part1",
    "CREATE TABLE x PARTITION OF parts FOR VALUES IN (3)",
    "CREATE TABLE x () INHERITS (a)",
    "CREATE TABLE x (LIKE a)",
    "CREATE TABLE x (id int REFERENCES a)",
    "CREATE TABLE x AS SELECT * FROM a",
    "CREATE VIEW x AS SELECT a.id FROM a JOIN other USING (id)",
    "CREATE INDEX ON a (b)",
    "CREATE TRIGGER x AFTER INSERT ON a EXECUTE FUNCTION f()",
    "ALTER TRIGGER t ON a RENAME TO x",
    "DROP TRIGGER t ON a",
    "CREATE POLICY x ON a",
    "ALTER POLICY p ON a RENAME TO x",
    "DROP POLICY p ON a",
    "CREATE STATISTICS x ON id, b FROM a",
    "COMMENT ON TABLE a IS 'x'",
    "COMMENT ON COLUMN a.b IS 'x'",
    "ANALYZE a",
]
STRONGER = {"ALTER TABLE a SET (fillfactor = 50)", "SELECT 1 FROM a, other FOR UPDATE OF a"}
"""The guard tells neither options of a table apart, nor which of several tables a query locks: it foresees no less."""
MODES = {mode.replace(" ", "").lower() + "lock": mode for mode in LockMode}
STRENGTH = list(LockMode)


def said(statement: str) -> Mapping[str, LockMode]:
    """The locks that the guard foresees."""
    file = read_file(migration_set(["1_x.down.sql"]).names[0], statement.encode())
    assert isinstance(file, MigrationFile)
    found = findings_of([file], TableName("public", "schema_migrations"), ("public",))
    assert found.refused == ()
    return {lock.table.name: lock.mode for lock in found.locks}


def taken(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> Mapping[str, LockMode]:
    """The strongest lock on each table that was there before; nothing of the statement stays."""
    tables = ["a", "other", "parts", "part1", "loose"]
    numbers = "SELECT oid FROM pg_class WHERE relname = ANY (%s) AND relkind IN ('r', 'p')"
    with connection.transaction(force_rollback=True):
        before = {row[0] for row in connection.execute(numbers, (tables,))}
        connection.execute(statement.encode())
        rows = connection.execute(
            "SELECT coalesce((SELECT relname FROM names WHERE names.oid = relation), '?'), mode FROM pg_locks"
            " WHERE pid = pg_backend_pid() AND relation = ANY (%s)",
            (list(before),),
        ).fetchall()
    strongest: dict[str, LockMode] = {}
    for name, mode in rows:
        known = MODES[str(mode).lower()]
        strongest[str(name)] = max(strongest.get(str(name), LockMode.ACCESS_SHARE), known, key=STRENGTH.index)
    return strongest


def test_each_statement_takes_the_locks_that_were_foreseen(real_database: RealDatabase) -> None:
    real_database.run(SCHEMA)
    real_database.run("CREATE TABLE names AS SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'p')")
    with real_database.connect(ROLE) as connection:
        different = {s: (told, done) for s in STATEMENTS if (told := said(s)) != (done := taken(connection, s))}
    assert different.keys() == STRONGER
    for told, done in different.values():
        assert told.keys() == done.keys()
        assert all(STRENGTH.index(told[table]) >= STRENGTH.index(done[table]) for table in told)


def test_a_column_that_is_added_and_dropped_at_once_is_dropped_first(real_database: RealDatabase) -> None:
    real_database.run("CREATE TABLE a (b int); INSERT INTO a VALUES (1); ALTER TABLE a ADD b text, DROP b")
    assert real_database.run("SELECT b FROM a") == [(None,)]


CHANGING = {"nextval"}
"""It moves a sequence, which no rollback undoes, and loses nothing."""


def test_functions_that_are_taken_for_harmless_are_postgresqls_own_and_change_nothing(
    real_database: RealDatabase,
) -> None:
    rows = real_database.run(
        "SELECT proname, bool_or(provolatile = 'v') FROM pg_proc"
        " WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY 1"
    )
    volatile = {str(name): bool(changes) for name, changes in rows}
    names = functions._HARMLESS
    assert names - volatile.keys() == set()
    reading_the_clock_or_chance = {"random", "gen_random_uuid", "clock_timestamp"}
    reading = {"currval", "generate_series"}
    assert {n for n in names if volatile[n]} - reading_the_clock_or_chance - reading == CHANGING


@pytest.mark.parametrize("name", ["pg_advisory_lock", "set_config", "pg_terminate_backend", "lo_import", "pg_notify"])
def test_functions_that_reach_outside_are_called_so(real_database: RealDatabase, name: str) -> None:
    assert real_database.value(f"SELECT count(*) > 0 FROM pg_proc WHERE proname = '{name}'")  # noqa: S608 - a name from here
    assert functions.reaches_outside([name])
