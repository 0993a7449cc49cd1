"""What the guard says of SQL before it runs it: hostile, subtle and plain statements, each with all of its findings."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.database.migrating import LockMode, TableLock
from logcaster_guard.domain.database.migrations import MAX_FILE_BYTES, MigrationFile, migration_set, read_file
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.statement_findings import (
    Count,
    Counted,
    CountQuery,
    Doubt,
    Findings,
    LossKind,
    NoStatement,
    NotSql,
    Refusal,
    StatementRefused,
    TooDeep,
)
from logcaster_guard.domain.database.statements.parsing import DEEPEST
from logcaster_guard.domain.database.statements.reading import findings_of

VERSIONS = TableName("public", "schema_migrations")
NAME = "3_x.down.sql"


def of(*texts: str) -> Findings:
    names = [f"{99 - number}_x.down.sql" for number in range(len(texts))] if len(texts) > 1 else [NAME]
    files = []
    for name, text in zip(names, texts, strict=True):
        found = read_file(migration_set([name]).names[0], text.encode())
        assert isinstance(found, MigrationFile)
        files.append(found)
    return findings_of(files, VERSIONS, ("public",))


def refusals(found: Findings) -> list[str]:
    return [f"{f.why}{f': {f.name}' if f.name else ''}" for f in found.refused if isinstance(f, StatementRefused)]


def doubts(found: Findings) -> list[str]:
    return [f"{d.why}{f': {d.name}' if d.name else ''}" for d in found.unjudged]


def losses(found: Findings) -> list[str]:
    return [f"{x.kind}: {x.object}{' and dependents' if x.cascade else ''}" for x in found.losses]


REFUSED = [
    # What ends the guard's transaction, or is no part of it.
    ("BEGIN", ["transaction"]),
    ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE", ["transaction"]),
    ("DROP VIEW a; COMMIT; DROP VIEW b", ["transaction"]),
    ("END", ["transaction"]),
    ("ROLLBACK", ["transaction"]),
    ("ABORT AND CHAIN", ["transaction"]),
    ("SAVEPOINT a; ROLLBACK TO a; RELEASE a", ["transaction"] * 3),
    ("PREPARE TRANSACTION 'a'", ["transaction"]),
    ("COMMIT PREPARED 'a'", ["transaction"]),
    ("/* BEGIN */ -- COMMIT\nCOMMIT -- it", ["transaction"]),
    ("VACUUM", ["outside"]),
    ("VACUUM FULL logs", ["outside"]),
    ("CLUSTER logs", ["outside"]),
    ("CHECKPOINT", ["outside"]),
    ("CREATE DATABASE a", ["outside"]),
    ("DROP DATABASE a WITH (FORCE)", ["outside"]),
    ("CREATE TABLESPACE a LOCATION '/a'", ["outside"]),
    ("DROP TABLESPACE a", ["outside"]),
    ("ALTER SYSTEM SET fsync = off", ["outside"]),
    ("CREATE INDEX CONCURRENTLY i ON logs (a)", ["outside"]),
    ("DROP INDEX CONCURRENTLY i", ["outside"]),
    ("REINDEX TABLE CONCURRENTLY logs", ["unlisted"]),
    ("REINDEX INDEX i", ["unlisted"]),
    ("ALTER TABLE logs DETACH PARTITION p CONCURRENTLY", ["outside"]),
    ("DROP SUBSCRIPTION s", ["outside"]),
    # Settings and sessions.
    ("SET search_path = other", ["setting"]),
    ("SET LOCAL lock_timeout = 0", ["setting"]),
    ("SET SESSION AUTHORIZATION postgres", ["setting"]),
    ("SET ROLE postgres", ["setting"]),
    ("RESET ALL", ["setting"]),
    ("DISCARD ALL", ["setting"]),
    ("SET CONSTRAINTS ALL DEFERRED", ["setting"]),
    ("SELECT set_config('search_path', 'other', false)", ["function: set_config"]),
    ("SELECT pg_catalog.set_config('role', 'a', true)", ["function: pg_catalog.set_config"]),
    ("LISTEN a", ["sessions"]),
    ("UNLISTEN *", ["sessions"]),
    ("NOTIFY a, 'b'", ["sessions"]),
    ("SELECT pg_notify('a', 'b')", ["function: pg_notify"]),
    ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity", ["function: pg_terminate_backend"]),
    # Locks.
    ("LOCK TABLE logs", ["lock"]),
    ("SELECT pg_advisory_lock(1)", ["function: pg_advisory_lock"]),
    ("SELECT PG_Advisory_Xact_Lock(1)", ["function: pg_advisory_xact_lock"]),
    ("ALTER TABLE logs ADD a bool DEFAULT pg_try_advisory_lock(1)", ["function: pg_try_advisory_lock"]),
    ("CREATE TABLE a (b bool DEFAULT (pg_advisory_lock(1) IS NULL))", ["function: pg_advisory_lock"]),
    ("CREATE INDEX ON logs ((pg_try_advisory_lock(a)))", ["function: pg_try_advisory_lock"]),
    ("CREATE INDEX ON logs (a) WHERE pg_try_advisory_lock(a)", ["function: pg_try_advisory_lock"]),
    ("DELETE FROM logs WHERE pg_try_advisory_lock(a)", ["function: pg_try_advisory_lock"]),
    ("ALTER TABLE logs ADD CHECK (pg_try_advisory_lock(a))", ["function: pg_try_advisory_lock"]),
    ("SELECT (SELECT CASE WHEN true THEN pg_advisory_lock(1) END)", ["function: pg_advisory_lock"]),
    ("WITH x AS (SELECT pg_advisory_lock(1)) SELECT 1", ["function: pg_advisory_lock"]),
    ("VALUES (pg_advisory_lock(1))", ["function: pg_advisory_lock"]),
    ("INSERT INTO logs SELECT 1 ORDER BY pg_advisory_lock(1)", ["function: pg_advisory_lock"]),
    # Data past SQL, and statements that the file does not hold.
    ("COPY logs TO '/tmp/a'", ["copy"]),
    ("COPY logs FROM PROGRAM 'rm -rf /'", ["copy"]),
    ("COPY (SELECT 1) TO stdout", ["copy"]),
    ("PREPARE a AS DELETE FROM logs", ["prepared"]),
    ("EXECUTE a", ["prepared"]),
    ("CREATE TABLE b AS EXECUTE a", ["prepared"]),
    ("DEALLOCATE ALL", ["prepared"]),
    ("SELECT dblink_exec('', 'DROP TABLE logs')", ["function: dblink_exec"]),
    ("SELECT lo_import('/etc/passwd')", ["function: lo_import"]),
    ("SELECT pg_read_file('/etc/passwd')", ["function: pg_read_file"]),
    # What all databases share.
    ("CREATE ROLE a SUPERUSER", ["cluster"]),
    ("ALTER USER a PASSWORD 'b'", ["cluster"]),
    ("DROP ROLE a", ["cluster"]),
    ("GRANT a TO b", ["cluster"]),
    ("GRANT CREATE ON DATABASE a TO b", ["cluster"]),
    ("DROP OWNED BY a CASCADE", ["cluster"]),
    ("REASSIGN OWNED BY a TO b", ["cluster"]),
    ("ALTER DATABASE a SET search_path = b", ["cluster"]),
    ("ALTER DATABASE a OWNER TO b", ["cluster"]),
    ("COMMENT ON DATABASE a IS 'b'", ["cluster"]),
    # The guard's own tables, and the tool's.
    ("DELETE FROM schema_migrations", ["own: public.schema_migrations"]),
    ("UPDATE public.schema_migrations SET version = 1", ["own: public.schema_migrations"]),
    ('TRUNCATE "schema_migrations"', ["own: public.schema_migrations"]),
    ("DROP TABLE IF EXISTS public.schema_migrations", ["own: public.schema_migrations"]),
    ("ALTER TABLE schema_migrations RENAME TO a", ["own: public.schema_migrations"]),
    ("WITH a AS (DELETE FROM schema_migrations RETURNING 1) SELECT 1", ["own: public.schema_migrations"]),
    ("INSERT INTO logs SELECT version FROM schema_migrations", ["own: public.schema_migrations"]),
    ("DROP SCHEMA public CASCADE", ["own: public"]),
    ("DROP SCHEMA logcaster_guard", ["own: logcaster_guard"]),
    ("UPDATE logcaster_guard.epoch SET epoch = 0", ["own: logcaster_guard.epoch"]),
    ("GRANT ALL ON logcaster_guard.operation TO public", ["own: logcaster_guard.operation"]),
    ("ALTER SCHEMA public RENAME TO a", ["unlisted"]),
    ("ALTER SCHEMA public OWNER TO a", ["own: public"]),
    # The server's own catalogs.
    ("DELETE FROM pg_catalog.pg_class", ["cluster: pg_catalog.pg_class"]),
    ("UPDATE pg_database SET datallowconn = false", ["cluster: public.pg_database"]),
    ("TRUNCATE information_schema.sql_features", ["cluster: information_schema.sql_features"]),
    # What means one thing or another, by what is there.
    ("ALTER TABLE IF EXISTS a RENAME TO b", ["unlisted: IF EXISTS"]),
    ("ALTER VIEW IF EXISTS a SET SCHEMA b", ["unlisted: IF EXISTS"]),
    # What nobody has thought of is not run.
    ("LOAD 'a'", ["unlisted"]),
    ("EXPLAIN ANALYZE DELETE FROM logs", ["unlisted"]),
    ("DECLARE a CURSOR FOR SELECT 1", ["unlisted"]),
    ("CREATE EVENT TRIGGER a ON ddl_command_end EXECUTE FUNCTION b()", ["unlisted"]),
    ("CREATE FOREIGN TABLE a (b int) SERVER c", ["unlisted"]),
    ("CREATE SERVER a FOREIGN DATA WRAPPER b", ["unlisted"]),
    ("CREATE PUBLICATION a FOR ALL TABLES", ["unlisted"]),
    ("CREATE CAST (text AS int) WITH FUNCTION a(text) AS IMPLICIT", ["unlisted"]),
    ("CREATE OPERATOR = (LEFTARG = int, RIGHTARG = int, FUNCTION = a)", ["unlisted"]),
    ("DROP OPERATOR = (int, int)", ["unlisted"]),
    ("DROP CAST (text AS int)", ["unlisted"]),
    ("DROP FOREIGN TABLE a", ["unlisted"]),
    ("CREATE SCHEMA a CREATE TABLE b (c int)", ["unlisted"]),
    ("ALTER TABLE logs SET UNLOGGED", ["unlisted: SetUnLogged"]),
    ("ALTER TABLE logs SET TABLESPACE a, DISABLE TRIGGER ALL", ["unlisted: SetTableSpace", "unlisted: DisableTrigAll"]),
    ("ALTER TABLE logs NO INHERIT a", ["unlisted: DropInherit"]),
    ("SECURITY LABEL ON TABLE logs IS 'a'", ["unlisted"]),
]


@pytest.mark.parametrize(("sql", "expected"), REFUSED, ids=[sql for sql, _ in REFUSED])
def test_refused(sql: str, expected: list[str]) -> None:
    assert refusals(of(sql)) == expected


UNJUDGED = [
    ("DO $$ BEGIN DELETE FROM logs; END $$", ["code"]),
    ("DO LANGUAGE plpgsql 'BEGIN COMMIT; END'", ["code"]),
    ("CALL archive()", ["code", "function: archive"]),
    ("SELECT archive()", ["function: archive"]),
    ("SELECT public.lower('a')", ["function: public.lower"]),
    ('SELECT "Lower"(a) FROM logs', ["function: Lower"]),
    ("SELECT lower(archive(a)) FROM logs", ["function: archive"]),
    ("SELECT * FROM archive() a", ["function: archive"]),
    ("SELECT setval('a', 1)", ["function: setval"]),
    ("SELECT query_to_xml('DELETE FROM logs', true, true, '')", ["function: query_to_xml"]),
    ("SELECT a OPERATOR(public.+) 1 FROM logs", ["operator: public.+"]),
    ("SELECT a OPERATOR(pg_catalog.+) 1 FROM logs", []),
    ("SELECT a OPERATOR(own.=) ANY (SELECT 1) FROM logs", ["operator: own.="]),
    ("SELECT a FROM logs ORDER BY a USING OPERATOR(own.<)", ["operator: own.<"]),
    ("CREATE FUNCTION lower(logs) RETURNS int LANGUAGE sql AS 'DELETE FROM logs RETURNING 1'", ["code: lower"]),
    ("CREATE VIEW a AS SELECT archive(); SELECT * FROM a", ["function: archive"]),
    ("CREATE VIEW a AS SELECT archive(); CREATE VIEW b AS TABLE a; INSERT INTO c TABLE b", ["function: archive"]),
    ("CREATE VIEW a AS SELECT archive(); ALTER VIEW a RENAME TO b; SELECT 1 FROM b", ["function: archive"]),
    ("CREATE VIEW a AS SELECT archive(); DROP VIEW a; CREATE TABLE a (b int); SELECT * FROM a", []),
    ("CREATE VIEW a AS SELECT lower(b) FROM c; SELECT * FROM a", []),
    ("SELECT count(*), lower('a'), extract(year FROM now()), coalesce(a, current_date) FROM logs", []),
    ("CREATE TABLE a AS SELECT archive()", ["function: archive"]),
    ("SELECT archive() INTO a", ["function: archive"]),
    ("INSERT INTO logs VALUES (archive())", ["function: archive"]),
    ("INSERT INTO logs (a) SELECT lower(a) FROM old", []),
    ("ALTER TABLE logs ADD a uuid DEFAULT uuid_generate_v4()", ["function: uuid_generate_v4"]),
    ("ALTER TABLE logs ADD a uuid DEFAULT gen_random_uuid()", []),
    ("ALTER TABLE logs ALTER a TYPE int USING archive(a)", ["function: archive"]),
    ("CREATE INDEX ON logs (archive(a))", ["function: archive"]),
    ("CREATE INDEX ON logs (lower(a))", []),
    ("CREATE FUNCTION a() RETURNS int LANGUAGE sql AS 'DELETE FROM logs RETURNING 1'", []),
    ("CREATE OR REPLACE FUNCTION a() RETURNS int LANGUAGE sql BEGIN ATOMIC DELETE FROM logs RETURNING 1; END", []),
    ("CREATE FUNCTION a() RETURNS int LANGUAGE C AS 'a.so', 'a'", ["code: a"]),
    ("CREATE PROCEDURE a() LANGUAGE plpgsql AS $x$ BEGIN COMMIT; END $x$", []),
    ("CREATE VIEW a AS SELECT archive(b) FROM logs", []),
    ("CREATE POLICY a ON logs USING (archive(b))", []),
    ("CREATE EXTENSION a", ["extension"]),
    ("ALTER EXTENSION a UPDATE", ["extension"]),
    ("CREATE RULE a AS ON UPDATE TO logs DO INSTEAD DELETE FROM logs", ["rule"]),
    ("ALTER TABLE logs DISABLE TRIGGER a", ["switched off: a"]),
    ("ALTER TABLE logs DISABLE TRIGGER USER", ["switched off: public.logs"]),
    ("REFRESH MATERIALIZED VIEW a", ["refresh: public.a"]),
    ("CREATE TRIGGER a BEFORE DELETE ON logs EXECUTE FUNCTION b()", []),
    ("CREATE TRIGGER a BEFORE DELETE ON logs EXECUTE FUNCTION b(); DELETE FROM logs", ["triggers: public.logs"]),
    ("ALTER TABLE logs ENABLE TRIGGER a; ALTER TABLE logs RENAME TO l; DELETE FROM l", ["triggers: public.l"]),
    ("SELECT 'pg_advisory_lock(1)', $$DELETE FROM logs$$, \"drop\" FROM logs -- archive()", []),
]


@pytest.mark.parametrize(("sql", "expected"), UNJUDGED, ids=[sql for sql, _ in UNJUDGED])
def test_what_cannot_be_judged(sql: str, expected: list[str]) -> None:
    found = of(sql)
    assert (refusals(found), sorted(doubts(found))) == ([], sorted(expected))


LOSSES = [
    ("DROP TABLE a, s.b", ["table: public.a", "table: s.b"]),
    ("DROP TABLE IF EXISTS a CASCADE", ["table: public.a and dependents"]),
    ("DROP SCHEMA a", ["schema: a"]),
    ("DROP SCHEMA a CASCADE", ["schema: a and dependents"]),
    ("DROP TYPE a", ["type: a"]),
    ("DROP DOMAIN s.a CASCADE", ["type: s.a and dependents"]),
    ("DROP EXTENSION a", ["extension: a"]),
    ("DROP SEQUENCE a", ["sequence: public.a"]),
    ("DROP MATERIALIZED VIEW a", ["materialized view: public.a"]),
    ("DROP VIEW a", []),
    ("DROP VIEW a CASCADE", ["dependents: a and dependents"]),
    ("DROP INDEX a", []),
    ("DROP FUNCTION a(int) CASCADE", ["dependents: a and dependents"]),
    ("DROP TRIGGER a ON logs", []),
    ("DROP POLICY a ON logs", []),
    ("DROP RULE a ON logs", []),
    (
        "ALTER TABLE logs DROP COLUMN a, DROP b CASCADE",
        ["column: public.logs.a", "column: public.logs.b and dependents"],
    ),
    ("ALTER TABLE IF EXISTS ONLY logs DROP COLUMN IF EXISTS a", ["column: public.logs.a"]),
    ("ALTER TABLE logs DROP CONSTRAINT a", []),
    ("ALTER TABLE logs DROP CONSTRAINT a CASCADE", ["dependents: public.logs.a and dependents"]),
    ("ALTER TABLE logs ALTER a DROP DEFAULT, ALTER a DROP NOT NULL, ALTER a SET DEFAULT 1", []),
    ("ALTER TABLE logs ALTER a DROP IDENTITY", ["sequence: public.logs.a"]),
    ("ALTER TABLE logs ALTER a SET GENERATED ALWAYS RESTART", ["sequence reset: public.logs.a"]),
    ("ALTER TABLE logs ALTER a DROP EXPRESSION", []),
    ("ALTER TABLE logs ALTER a TYPE varchar(10)", ["type change: public.logs.a"]),
    ("ALTER TABLE logs ALTER a TYPE text", []),
    ("ALTER TABLE logs ALTER a TYPE varchar", []),
    ("ALTER TABLE logs ALTER a TYPE text[]", ["type change: public.logs.a"]),
    ("ALTER TABLE logs ALTER a TYPE text USING left(a, 1)", ["type change: public.logs.a"]),
    ("ALTER TABLE logs ALTER a TYPE bigint", ["type change: public.logs.a"]),
    ("ALTER TABLE logs ALTER a TYPE own.kind", ["type change: public.logs.a"]),
    ("ALTER TABLE logs DETACH PARTITION p", ["partition: public.logs: public.p"]),
    ("ALTER TYPE a DROP ATTRIBUTE b CASCADE", ["column: public.a.b and dependents"]),
    ("ALTER TYPE a ADD VALUE 'b'", []),
    ("ALTER SEQUENCE a RESTART", ["sequence reset: public.a"]),
    ("ALTER SEQUENCE a OWNED BY NONE", []),
    ("TRUNCATE a, b", ["truncate: public.a", "truncate: public.b"]),
    ("TRUNCATE a RESTART IDENTITY CASCADE", ["truncate: public.a and dependents", "sequence reset: public.a"]),
    ("DELETE FROM logs", ["delete: public.logs"]),
    ("UPDATE logs SET a = 1 WHERE b = 2", ["update: public.logs"]),
    ("INSERT INTO logs SELECT * FROM old", []),
    ("INSERT INTO logs VALUES (1) ON CONFLICT DO NOTHING", []),
    ("INSERT INTO logs VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1", ["update: public.logs"]),
    ("WITH x AS (DELETE FROM logs RETURNING *) INSERT INTO old SELECT * FROM x", ["delete: public.logs"]),
    (
        "WITH x AS (WITH y AS (UPDATE a SET b = 1 RETURNING 1) SELECT 1), z AS (DELETE FROM c) SELECT 1",
        ["delete: public.c", "update: public.a"],
    ),
    ("CREATE TABLE a AS WITH x AS (DELETE FROM logs RETURNING *) SELECT * FROM x", ["delete: public.logs"]),
    (
        "MERGE INTO a USING b ON a.c = b.c WHEN MATCHED AND b.d THEN DELETE WHEN MATCHED THEN UPDATE SET e = 1",
        ["update: public.a", "delete: public.a"],
    ),
    ("MERGE INTO a USING b ON a.c = b.c WHEN NOT MATCHED THEN INSERT VALUES (1)", []),
    ("ALTER TABLE a RENAME TO b; ALTER TABLE b RENAME c TO d; ALTER TABLE b SET SCHEMA e", []),
    ("ALTER TABLE a OWNER TO b; GRANT SELECT ON a TO b; REVOKE ALL ON a FROM b; COMMENT ON TABLE a IS NULL", []),
    ("ANALYZE logs", []),
    ("CREATE SCHEMA a; CREATE TYPE b AS ENUM ('c'); CREATE DOMAIN d AS int; CREATE SEQUENCE e", []),
    ("-- DROP TABLE logs\n/* DROP /* nested */ TABLE logs */ SELECT 'DROP TABLE logs'", []),
    ("SELECT $a$ DROP TABLE logs; $$ $a$; SELECT U&'\\0044ROP'", []),
    ('DROP TABLE "DROP VIEW; a"', ["table: public.DROP VIEW; a"]),
]


@pytest.mark.parametrize(("sql", "expected"), LOSSES, ids=[sql for sql, _ in LOSSES])
def test_losses(sql: str, expected: list[str]) -> None:
    found = of(sql)
    assert (refusals(found), sorted(losses(found))) == ([], sorted(expected))


@pytest.mark.parametrize(
    ("sql", "line", "column", "words"),
    [
        ("\\i other.sql", 1, 1, 'syntax error at or near "\\"'),
        ("DROP TABLE :v", 1, 12, 'syntax error at or near ":"'),
        ("SELECT 1;\n\nSELEC 1", 3, 1, 'syntax error at or near "SELEC"'),
        ("COPY logs FROM stdin;\n1\t2\n\\.\n", 2, 1, 'syntax error at or near "1"'),
        ("SELECT 'ü", 1, 8, 'unterminated quoted string at or near "\'ü"'),
        ("/* /* */ DROP TABLE a", 1, 1, 'unterminated /* comment at or near "/* /* */ DROP TABLE a"'),
        ("SELECT $a$ b", 1, 8, 'unterminated dollar-quoted string at or near "$a$ b"'),
        ('DROP TABLE "a', 1, 12, 'unterminated quoted identifier at or near ""a"'),
        ("DROP TABLE a DROP TABLE b", 1, 14, 'syntax error at or near "DROP"'),
    ],
)
def test_what_is_no_sql_is_told_with_its_place(sql: str, line: int, column: int, words: str) -> None:
    assert of(sql).refused == (NotSql(NAME, line, column, words),)


@pytest.mark.parametrize("sql", ["-- nothing to undo", "/* no */ ;;", ";"])
def test_a_file_without_a_statement_undoes_nothing(sql: str) -> None:
    assert of(sql).refused == (NoStatement(NAME),)


def test_faults_of_all_files_and_statements_are_told_at_once_with_file_and_line() -> None:
    found = of("BEGIN;\nDROP VIEW a;\n-- b\n  COMMIT", "SELEC", "-- none", "DROP VIEW c;\r\nSET a = 1")
    told = [(f.file, getattr(f, "line", 0)) for f in found.refused]  # type: ignore[attr-defined] # each names a file
    assert told == [
        ("99_x.down.sql", 1),
        ("99_x.down.sql", 4),
        ("98_x.down.sql", 1),
        ("97_x.down.sql", 0),
        ("96_x.down.sql", 2),
    ]


def count(sql: str, *before: str) -> Count | None:
    (loss,) = of(*before, sql).losses[-1:]
    return replace(loss.count, table=None) if isinstance(loss.count, CountQuery) else loss.count


ALL_ROWS = 'SELECT count(*) FROM "public"."logs"'
CHANGED = (
    'SELECT count(*) FROM "public"."logs" WHERE "a"::pg_catalog.text IS DISTINCT FROM'
    ' ("a"::numeric(4, 2))::pg_catalog.text'
)


@pytest.mark.parametrize(
    ("sql", "query", "counted"),
    [
        ("DROP TABLE logs", ALL_ROWS, Counted.ROWS),
        ('DROP TABLE "a""b"."c.d"', 'SELECT count(*) FROM "a""b"."c.d"', Counted.ROWS),
        ("ALTER TABLE logs DROP a", 'SELECT count("a") FROM "public"."logs"', Counted.VALUES),
        ("DELETE FROM logs", ALL_ROWS, Counted.ROWS),
        ("DELETE FROM ONLY l m WHERE m.a = 'b'", "SELECT count(*) FROM ONLY l AS m WHERE m.a = 'b'", Counted.ROWS),
        ("UPDATE l SET a = 1 WHERE a IN (SELECT 2)", "SELECT count(*) FROM l WHERE a IN (SELECT 2)", Counted.ROWS),
        ("ALTER TABLE logs ALTER a TYPE numeric(4,2)", CHANGED, Counted.VALUES),
    ],
)  # fmt: skip
def test_what_would_be_lost_is_counted_by_one_question(sql: str, query: str, counted: Counted) -> None:
    assert count(sql) == CountQuery(query, counted)


@pytest.mark.parametrize(
    ("sql", "query", "counted"),
    [
        ("DELETE FROM logs USING c WHERE logs.a = c.a", ALL_ROWS, Counted.ROWS),
        ("DELETE FROM logs WHERE archive(a)", ALL_ROWS, Counted.ROWS),
        ("DELETE FROM logs WHERE a OPERATOR(own.=) 1", ALL_ROWS, Counted.ROWS),
        ("WITH c AS (SELECT 1) DELETE FROM logs WHERE a IN (TABLE c)", ALL_ROWS, Counted.ROWS),
        ("UPDATE logs SET a = 1 WHERE CURRENT OF c", ALL_ROWS, Counted.ROWS),
        ("ALTER TABLE logs ALTER a TYPE int USING a::int", 'SELECT count("a") FROM "public"."logs"', Counted.VALUES),
        ("ALTER TABLE logs ALTER a TYPE own.kind", 'SELECT count("a") FROM "public"."logs"', Counted.VALUES),
    ],
)
def test_where_the_condition_cannot_be_asked_everything_it_may_find_is_counted(
    sql: str, query: str, counted: Counted
) -> None:
    assert count(sql) == CountQuery(query, counted, exact=False)


@pytest.mark.parametrize(
    ("before", "sql", "query"),
    [
        ("ALTER TABLE logs RENAME TO b", "DROP TABLE b", ALL_ROWS),
        ("ALTER TABLE a RENAME TO b; ALTER TABLE logs RENAME TO a", "TRUNCATE a", ALL_ROWS),
        ("ALTER TABLE logs SET SCHEMA s", "DELETE FROM s.logs WHERE b = 1", ALL_ROWS),
        ("ALTER TABLE a RENAME b TO c", "ALTER TABLE a DROP c", 'SELECT count("b") FROM "public"."a"'),
        (
            "ALTER TABLE a RENAME b TO c; ALTER TABLE a RENAME TO d",
            "ALTER TABLE d DROP c",
            'SELECT count("b") FROM "public"."a"',
        ),
        ("ALTER TABLE logs RENAME b TO c", "DELETE FROM logs WHERE c = 1", ALL_ROWS),
        ("ALTER TABLE a RENAME TO b", "DELETE FROM logs WHERE d IN (SELECT e FROM b)", ALL_ROWS),
    ],
)
def test_a_name_that_an_earlier_file_has_moved_is_counted_where_it_is_now(before: str, sql: str, query: str) -> None:
    found = count(sql, before)
    assert isinstance(found, CountQuery)
    assert found.query == query


@pytest.mark.parametrize(
    ("before", "sql"),
    [
        ("CREATE TABLE a (b int)", "DROP TABLE a"),
        ("CREATE TABLE a AS SELECT 1", "TRUNCATE a"),
        ("SELECT 1 INTO a", "DELETE FROM a WHERE true"),
        ("DROP TABLE a; CREATE TABLE a (b int)", "DROP TABLE a"),
        ("CREATE TEMP TABLE logs (b int)", "DROP TABLE logs"),
        ("ALTER TABLE a ADD b int", "ALTER TABLE a DROP b"),
    ],
)
def test_what_the_files_have_made_themselves_is_no_loss(before: str, sql: str) -> None:
    assert count(sql, before) == 0


@pytest.mark.parametrize(
    ("before", "sql", "query"),
    [
        ("CREATE TABLE IF NOT EXISTS logs (a int)", "DROP TABLE logs", ALL_ROWS),
        ("CREATE TABLE IF NOT EXISTS logs AS SELECT 1", "TRUNCATE logs", ALL_ROWS),
        ("ALTER TABLE a ADD IF NOT EXISTS b int", "ALTER TABLE a DROP b", 'SELECT count("b") FROM "public"."a"'),
        ("ALTER TABLE b ADD a int", "ALTER TABLE a ADD b int, DROP b", 'SELECT count("b") FROM "public"."a"'),
        ("CREATE TEMP TABLE logs (a int); DROP TABLE logs", "DROP TABLE logs", ALL_ROWS),
        ("CREATE TEMP TABLE logs (a int)", "DROP TABLE public.logs", ALL_ROWS),
        ("ALTER TABLE logs RENAME TO b; ALTER TABLE b RENAME TO logs", "DROP TABLE logs", ALL_ROWS),
    ],
)
def test_what_only_looks_as_if_the_files_had_made_it_is_a_loss(before: str, sql: str, query: str) -> None:
    found = count(sql, before)
    assert isinstance(found, CountQuery)
    assert found.query == query


@pytest.mark.parametrize("change", ["DELETE FROM v", "UPDATE v SET a = 1", "ALTER VIEW v RENAME TO w; DELETE FROM w"])
def test_rows_that_go_through_a_view_of_the_files_are_not_taken_for_none(change: str) -> None:
    found = of("CREATE VIEW v AS SELECT * FROM logs", change)
    assert [loss.count for loss in found.losses] == [None]
    assert [doubt.why for doubt in found.unjudged] == [Doubt.RULES]


def test_names_are_looked_for_along_the_path_as_it_is_by_then() -> None:
    text = (
        "ALTER TABLE logs RENAME TO b; DROP TABLE b; DROP TABLE a; DROP TABLE a; CREATE TABLE a (c int); DROP TABLE a"
    )
    found = read_file(migration_set([NAME]).names[0], text.encode())
    assert isinstance(found, MigrationFile)
    homes = {"logs": ["second"], "a": ["first", "second"]}
    told = findings_of([found], VERSIONS, ("first", "second"), homes)
    assert [loss.object for loss in told.losses] == ["second.b", "first.a", "second.a", "first.a"]
    asked = [loss.count.table if isinstance(loss.count, CountQuery) else loss.count for loss in told.losses]
    assert asked == [*(TableName(*n) for n in (("second", "logs"), ("first", "a"), ("second", "a"))), 0]


@pytest.mark.parametrize(
    ("sql", "locks"),
    [
        ("DROP TABLE b, a", {"a": LockMode.ACCESS_EXCLUSIVE, "b": LockMode.ACCESS_EXCLUSIVE}),
        ("ALTER TABLE a ADD b int", {"a": LockMode.ACCESS_EXCLUSIVE}),
        ("ALTER TABLE a VALIDATE CONSTRAINT b", {"a": LockMode.SHARE_UPDATE_EXCLUSIVE}),
        ("ALTER TABLE a VALIDATE CONSTRAINT b, DROP c", {"a": LockMode.ACCESS_EXCLUSIVE}),
        (
            "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c",
            {"a": LockMode.SHARE_ROW_EXCLUSIVE, "c": LockMode.SHARE_ROW_EXCLUSIVE},
        ),
        ("CREATE TABLE a (b int REFERENCES c)", {"c": LockMode.SHARE_ROW_EXCLUSIVE}),
        ("CREATE TABLE a (LIKE d)", {"d": LockMode.ACCESS_SHARE}),
        ("CREATE TABLE a PARTITION OF b DEFAULT", {"b": LockMode.ACCESS_EXCLUSIVE}),
        ("CREATE INDEX ON a (b)", {"a": LockMode.SHARE}),
        ("DROP TRIGGER b ON a", {"a": LockMode.ACCESS_EXCLUSIVE}),
        ("CREATE TRIGGER b AFTER INSERT ON a EXECUTE FUNCTION c()", {"a": LockMode.SHARE_ROW_EXCLUSIVE}),
        ("INSERT INTO a SELECT * FROM b", {"a": LockMode.ROW_EXCLUSIVE, "b": LockMode.ACCESS_SHARE}),
        ("DELETE FROM a USING b WHERE a.c IN (SELECT c FROM d)",
         {"a": LockMode.ROW_EXCLUSIVE, "b": LockMode.ACCESS_SHARE, "d": LockMode.ACCESS_SHARE}),
        ("WITH b AS (SELECT 1) SELECT * FROM b, a FOR UPDATE", {"a": LockMode.ROW_SHARE}),
        ("CREATE VIEW b AS SELECT * FROM a JOIN c ON true",
         {"a": LockMode.ACCESS_SHARE, "c": LockMode.ACCESS_SHARE}),
        ("TRUNCATE a; SELECT 1 FROM a", {"a": LockMode.ACCESS_EXCLUSIVE}),
        ("CREATE TABLE a (b int); DROP TABLE a; CREATE INDEX ON a (b)", {}),
        ("ALTER TABLE a RENAME TO b; DROP TABLE b", {"a": LockMode.ACCESS_EXCLUSIVE}),
        ("ANALYZE a; COMMENT ON COLUMN b.c IS 'd'",
         {"a": LockMode.SHARE_UPDATE_EXCLUSIVE, "b": LockMode.SHARE_UPDATE_EXCLUSIVE}),
        ("DROP VIEW a; DROP FUNCTION b", {}),
        ("CREATE RULE r AS ON INSERT TO a DO INSTEAD NOTHING", {"a": LockMode.ACCESS_EXCLUSIVE}),
    ],
)  # fmt: skip
def test_each_table_is_locked_once_as_strongly_as_it_will_be(sql: str, locks: dict[str, LockMode]) -> None:
    assert of(sql).locks == tuple(TableLock(TableName("public", name), mode) for name, mode in sorted(locks.items()))


def test_the_table_of_an_index_that_goes_is_locked_too() -> None:
    assert of("CREATE INDEX b ON c (d)", "DROP INDEX a, b").indexes == (TableName("public", "a"),)


def test_the_database_is_asked_for_what_no_file_shows() -> None:
    asked = {(c.doubt.why, c.doubt.name) for c in of("DELETE FROM a; INSERT INTO b VALUES (1)").checks}
    assert asked == {
        *((Doubt.TRIGGERS, f"public.{name}") for name in "ab"),
        *((Doubt.RULES, f"public.{name}") for name in "ab"),
        (Doubt.FOREIGN_KEYS, "public.a"),
    }


BOMBS = {
    "sums": "SELECT 1" + "+1" * 30_000,
    "unions": "SELECT 1, 2" + " UNION SELECT 1, 2" * 10_000,
    "casts": "SELECT 1" + "::int" * 40_000,
    "joins": "SELECT * FROM t" + " JOIN t ON true" * 15_000,
    "brackets": "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
    "functions": "SELECT " + "f(1," * 20_000 + "1" + ")" * 20_000,
    "queries": "SELECT * FROM " + "(SELECT 1,2 FROM " * 10_000 + "t" + ") a" * 10_000,
    "cases": "SELECT " + "CASE WHEN true THEN " * 10_000 + "1" + " END" * 10_000,
    "arrays": "SELECT " + "ARRAY[1," * 12_000 + "1" + "]" * 12_000,
    "negations": "SELECT " + "NOT " * 20_000 + "true",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_tree_that_would_end_the_process_is_never_built(bomb: str) -> None:
    assert of(f"DROP VIEW a;\n{BOMBS[bomb]}").refused == (TooDeep(NAME, 2, DEEPEST),)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1" + "+1" * (DEEPEST // 2 - 2),
        "SELECT 1" + " UNION SELECT 1" * (DEEPEST // 3),
        "SELECT " + "(" * (DEEPEST - 3) + "1" + ")" * (DEEPEST - 3),
    ],
)
def test_what_is_just_not_too_deep_is_read_on_a_small_stack(text: str) -> None:
    told: list[Findings] = []
    before = threading.stack_size(2 << 20)
    try:
        thread = threading.Thread(target=lambda: told.append(of(text)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert told == [Findings()]


def test_a_large_file_of_flat_statements_is_read_in_bounded_time() -> None:
    rows = ",".join(["(1, 'a', 2)"] * (MAX_FILE_BYTES // 4 // 12))
    began = time.process_time()
    assert of(f"INSERT INTO a VALUES {rows}").refused == ()  # noqa: S608 - it is read and never run
    assert time.process_time() - began < 5


PIECES = ("DROP", "TABLE", "a", ";", "$$", "'", "/*", "*/", "--", "\n", "(", ")", "SELECT", "E'\\", "BEGIN", ",", ":v")


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.sampled_from(PIECES)).map(" ".join)


@given(text=TEXTS)
def test_no_text_brings_the_reader_down(text: str) -> None:
    found = read_file(migration_set([NAME]).names[0], text.encode())
    assert not isinstance(found, MigrationFile) or isinstance(findings_of([found], VERSIONS, ("public",)), Findings)


def test_every_reason_is_reached_by_some_statement() -> None:
    reached = {str(f.why) for sql, _ in REFUSED for f in of(sql).refused if isinstance(f, StatementRefused)}
    assert reached == set(Refusal)
    assert {str(x.kind) for sql, _ in LOSSES for x in of(sql).losses} == set(LossKind)
