"""Whatever files do to rows, names and columns: no value is lost that the plan has not counted or called into doubt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from logcaster_guard.domain.database.migrations import MigrationFile, WayDown, migration_set, read_file
from logcaster_guard.domain.database.plan import Draft
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.statements.reading import findings_of
from tests.fakes.database import state_at
from tests.real.postgresql import ROLE, PostgreSQL

Connection = psycopg.Connection[tuple[object, ...]]

SCHEMA = """
    CREATE SCHEMA s;
    CREATE TABLE a AS SELECT 'a' || n AS x, 'ay' || n AS y FROM generate_series(1, 3) n;
    CREATE TABLE b AS SELECT 'b' || n AS x, 'by' || n AS y FROM generate_series(1, 4) n;
    CREATE TABLE s.c AS SELECT 'c' || n AS x, 'cy' || n AS y FROM generate_series(1, 5) n;
    CREATE VIEW v AS SELECT * FROM a;
"""
MOVING = (
    *("DROP TABLE {t}", "DROP TABLE IF EXISTS {t}", "DROP VIEW v", "DROP TABLE s.c"),
    *("ALTER TABLE {t} RENAME TO {u}", "ALTER TABLE {t} RENAME TO d", "ALTER TABLE d RENAME TO {t}"),
    *("ALTER VIEW v RENAME TO {t}", "ALTER TABLE {t} SET SCHEMA s", "ALTER TABLE s.{t} SET SCHEMA public"),
    *("CREATE TABLE {t} (x text, y text)", "CREATE TABLE IF NOT EXISTS {t} (x text, y text)"),
    *("CREATE TEMP TABLE {t} (x text, y text)", "CREATE TABLE {t} AS SELECT * FROM s.c"),
    *("CREATE VIEW {t} AS SELECT * FROM {u}", "CREATE VIEW d AS SELECT * FROM {u}"),
    *("ALTER TABLE {t} DROP {c}", "ALTER TABLE {t} ADD {c} text", "ALTER TABLE {t} ADD IF NOT EXISTS {c} text"),
    *("ALTER TABLE {t} RENAME {c} TO z", "ALTER TABLE {t} RENAME z TO {c}", "INSERT INTO {t} SELECT * FROM {u}"),
)
LOSING = (
    *("DROP TABLE {t}", "DROP TABLE IF EXISTS {t}", "DROP TABLE d", "DROP TABLE s.{t}", "DROP SCHEMA s CASCADE"),
    *("ALTER TABLE {t} DROP {c}", "ALTER TABLE {t} DROP z", "ALTER TABLE {t} ADD {c} text, DROP {c}"),
    *("ALTER TABLE {t} ALTER {c} TYPE text USING left({c}, 1)", "ALTER TABLE {t} ALTER {c} TYPE char(1) USING 'q'"),
    *("DELETE FROM {t}", "DELETE FROM {t} WHERE {c} > '{t}2'", "DELETE FROM {t} USING {u} WHERE {t}.x <> {u}.x"),
    *("UPDATE {t} SET {c} = NULL", "UPDATE {t} SET x = 'q' WHERE y < '{t}y3'", "TRUNCATE {t}", "DELETE FROM d"),
    "WITH moved AS (DELETE FROM {t} RETURNING x) INSERT INTO s.c SELECT x, NULL FROM moved",
    "CREATE TABLE e AS WITH moved AS (UPDATE {t} SET {c} = 'q' RETURNING *) SELECT * FROM moved",
)


def of(templates: Sequence[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda template, names, column: template.format(t=names[0], u=names[1], c=column),
        st.sampled_from(templates),
        st.sampled_from(["ab", "ba"]),
        st.sampled_from("xy"),
    )


STATEMENTS = st.tuples(st.lists(of(MOVING), max_size=2), of(LOSING)).map(lambda parts: [*parts[0], parts[1]])


@pytest.fixture(scope="module")
def connection(postgresql_server: PostgreSQL) -> Iterator[Connection]:
    database = postgresql_server.new_database()
    database.run(SCHEMA)
    with database.connect(ROLE) as session:
        yield session
    postgresql_server.drop(database)


def values(connection: Connection) -> set[str]:
    """Every value of every table that there is."""
    tables = connection.execute(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE relkind = 'r' AND (nspname IN ('public', 's') OR n.oid = pg_my_temp_schema())"
    ).fetchall()
    rows = [
        row
        for (table,) in tables
        for row in connection.execute(f"SELECT to_jsonb(t)::text FROM {table} t".encode())  # noqa: S608 - a name of its own
    ]
    return {str(value) for (row,) in rows for value in json.loads(str(row)).values() if value is not None}


def answers(connection: Connection, questions: Sequence[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for question in questions:
        try:
            with connection.transaction():
                row = connection.execute(question.encode()).fetchone()
        except psycopg.Error:
            continue
        assert row is not None
        found[question] = int(str(row[0]))
    return found


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(statements=STATEMENTS)
def test_no_value_is_lost_in_silence(connection: Connection, statements: list[str]) -> None:
    file = read_file(migration_set(["1_x.down.sql"]).names[0], ";\n".join(statements).encode())
    assert isinstance(file, MigrationFile)
    versions = TableName("public", "schema_migrations")
    findings = findings_of([file], versions, ("public",))
    assume(not findings.refused)
    draft = Draft(state_at(1), versions, WayDown(1, None), (), findings)
    with connection.transaction(force_rollback=True):
        plan = draft.planned(answers(connection, draft.questions))
        before = values(connection)
        try:
            with connection.transaction():
                connection.execute(file.text.encode())
        except psycopg.Error:
            # Then nothing is lost at all.
            return
        lost = before - values(connection)
    told = sum(len(before) if loss.count is None or loss.cascade else loss.count for loss in plan.losses)
    # A row has two values.
    assert len(lost) <= 2 * told or plan.unjudged
