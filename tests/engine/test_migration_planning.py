"""From a folder of files and a database to a plan, or to every fault at once; on a fake and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres.connection import Address
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.database import migration_faults, server_reasons
from logcaster_guard.domain.database.migrating import Committed, Migrated
from logcaster_guard.domain.database.plan import Planned, order_of
from logcaster_guard.domain.database.server import MigrationTool
from logcaster_guard.domain.database.statement_findings import StatementRefused
from logcaster_guard.engine.migration_planning import planned
from logcaster_guard.fields.secrets import Secret
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Database
from tests.fakes.database import MemoryDatabase, state_at
from tests.real.postgresql import PASSWORD, ROLE, RealDatabase

UP = {f"{v}_x.up.sql": "SELECT 1" for v in (9, 10, 11, 12)}


async def plan(database: Database, texts: Mapping[str, str], to: int | None) -> Planned:
    def read(name: str) -> bytes:
        assert ".down." in name, "an up file is never read"
        return texts[name].encode()

    return await planned(database, list(texts), read, to)


def told(found: Planned) -> list[str]:
    return [english().text(fault) for fault in found.faults]


async def test_faults_of_server_versions_and_files_are_told_at_once() -> None:
    state = replace(state_at(12), server_version=160_002, pooler=True)
    texts = {**UP, "12_x.down.sql": "COMMIT", "10_x.down.sql": "\ufeffDROP VIEW a"}
    found = await plan(MemoryDatabase(state), texts, 8)
    assert found.plan is None
    assert [type(fault) for fault in found.faults] == [
        server_reasons.OtherMajor,
        server_reasons.PoolerBetween,
        migration_faults.NoSuchVersion,
        migration_faults.NoDownFile,
        migration_faults.NoDownFile,
        migration_faults.UnusableFile,
        StatementRefused,
    ]
    assert told(found)[-1] == (
        "12_x.down.sql:1: COMMIT begins or ends a transaction: all files are run in one, so that all of them are undone"
        " together"
    )


@pytest.mark.parametrize(
    ("tool", "fault"),
    [(MigrationTool.ALEMBIC, server_reasons.ToolReadOnly), (MigrationTool.FLYWAY, server_reasons.ToolReadOnly)],
)
async def test_of_a_tool_that_is_only_read_no_version_is_compared(tool: MigrationTool, fault: type) -> None:
    found = await plan(MemoryDatabase(state_at(99, tool=tool)), UP, 9)
    assert [type(f) for f in found.faults] == [fault]


async def test_a_database_that_is_there_already_has_nothing_to_undo() -> None:
    found = await plan(MemoryDatabase(state_at(9)), UP, 9)
    assert found.plan is not None
    assert (found.plan.files, found.plan.needs_approval) == ((), False)


async def test_zero_and_none_are_before_the_first_migration() -> None:
    texts = {"1_x.up.sql": "", "1_x.down.sql": "DROP VIEW a"}
    plans = [(await plan(MemoryDatabase(state_at(1)), texts, to)).plan for to in (0, None)]
    assert plans[0] is not None
    assert plans[0] == plans[1]
    assert plans[0].files[0].leaves is None


async def test_a_question_that_fails_leaves_the_others_answered() -> None:
    counts = {'SELECT count(*) FROM "public"."a"': 7}
    texts = {**UP, **{f"{v}_x.down.sql": f"DROP TABLE {t}" for v, t in ((12, "a"), (11, "b"))}}
    found = await plan(MemoryDatabase(state_at(12), counts), texts, 10)
    assert found.plan is not None
    assert [loss.count for loss in found.plan.losses] == [7, None]


# --- on PostgreSQL ------------------------------------------------------------------------------------------------

VERSION_12 = """
    CREATE TABLE public.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
    INSERT INTO public.schema_migrations VALUES (12, false);
"""
SCHEMA = """
    CREATE TYPE severity AS ENUM ('debug', 'error');
    CREATE TABLE logs (id int PRIMARY KEY, message varchar(20), level severity, size numeric(8, 4));
    CREATE INDEX logs_level ON logs (level);
    CREATE TABLE notes (id int PRIMARY KEY, log int REFERENCES logs ON DELETE CASCADE);
    CREATE VIEW errors AS SELECT id, message FROM logs WHERE level = 'error';
    INSERT INTO logs SELECT n, repeat('x', n), CASE WHEN n % 2 = 0 THEN 'error' END::severity, n + 0.125
      FROM generate_series(1, 10) n;
    INSERT INTO notes SELECT n, n FROM generate_series(1, 4) n;
"""
DOWN = {
    "12_notes.down.sql": "DROP TABLE notes;\nDROP TABLE IF EXISTS never_there;",
    "11_level.down.sql": "DROP VIEW errors;\nALTER TABLE logs DROP COLUMN level;\nDROP TYPE severity;",
    "10_size.down.sql": "ALTER TABLE logs ALTER size TYPE numeric(8, 2), ALTER message TYPE text;\n"
    "DELETE FROM logs WHERE id > 8;",
}


def postgres(database: RealDatabase) -> PostgresDatabase:
    address = Address("127.0.0.1", database.server.port, database.name, ROLE, Secret(plain=PASSWORD))
    return PostgresDatabase(address, SystemClock())


async def carried_out(database: Database, found: Planned) -> Migrated:
    assert found.plan is not None
    session = await database.begin()

    async def begun(transaction: int) -> None:
        del transaction

    ended = await session.run(order_of(found.plan, found.files, operation="op-1", epoch=1), begun)
    await session.aclose()
    return ended


async def test_what_a_plan_says_of_losses_and_locks_is_what_happens(real_database: RealDatabase) -> None:
    real_database.run(VERSION_12 + SCHEMA)
    database = postgres(real_database)
    found = await plan(database, {**UP, **DOWN}, 9)
    assert told(found) == []
    assert found.plan is not None
    assert [(loss.object, loss.count, loss.exact) for loss in found.plan.losses] == [
        ("public.notes", 4, True),
        ("public.never_there", 0, True),
        ("public.logs.level", 5, True),
        ("severity", 1, True),
        ("public.logs.size", 10, True),
        ("public.logs", 2, True),
    ]
    assert [str(lock.table) for lock in found.plan.locks] == ["public.logs", "public.notes"]
    (doubt,) = found.plan.unjudged
    assert english().text(doubt) == (
        "10_size.down.sql:2: DELETE FROM (public.logs) deletes or changes rows of other tables through foreign keys,"
        " which are not counted"
    )
    assert real_database.value("SELECT count(*) FROM logs") == 10, "planning changes nothing"

    assert await carried_out(database, found) == Committed((), ())
    assert real_database.run("SELECT count(*), sum(size) FROM logs")[0][0] == 8
    assert real_database.value("SELECT version FROM schema_migrations") == 9


HIDDEN = "SELECT 'a\\''; DROP TABLE logs; --'"
"""One string, where a backslash is a character; where it is more than that, a string and a second statement."""


async def test_a_file_is_run_as_it_was_read_whatever_backslashes_mean_to_the_role(real_database: RealDatabase) -> None:
    real_database.run("CREATE TABLE logs AS SELECT chr(92) AS a")
    real_database.run(VERSION_12)
    real_database.run(
        f"ALTER ROLE {ROLE} IN DATABASE {real_database.name} SET standard_conforming_strings = off", "postgres"
    )
    database = postgres(real_database)
    texts = {**UP, "12_x.down.sql": HIDDEN + ";\nDELETE FROM logs WHERE a = '\\'"}
    found = await plan(database, texts, 11)
    assert found.plan is not None
    assert [(str(loss.what), loss.count) for loss in found.plan.losses] == [("delete", 1)]
    assert await carried_out(database, found) == Committed((), ())
    assert real_database.value("SELECT count(*) FROM logs") == 0


async def test_a_name_without_a_schema_is_found_where_the_role_finds_it(real_database: RealDatabase) -> None:
    real_database.run(f"CREATE SCHEMA {ROLE}; CREATE TABLE public.logs (id int); CREATE TABLE public.old (id int)")
    real_database.run(f"CREATE TABLE {ROLE}.logs AS SELECT 1 AS id; {VERSION_12}")
    found = await plan(postgres(real_database), {**UP, "12_x.down.sql": "DROP TABLE logs, old"}, 11)
    assert found.plan is not None
    assert [(loss.object, loss.count) for loss in found.plan.losses] == [(f"{ROLE}.logs", 1), ("public.old", 0)]
    assert [str(lock.table) for lock in found.plan.locks] == [f"{ROLE}.logs", "public.old"]


async def test_triggers_and_rules_that_no_file_shows_are_seen(real_database: RealDatabase) -> None:
    real_database.run(
        "CREATE TABLE logs (id int); CREATE TABLE old (id int);"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER t AFTER DELETE ON logs EXECUTE FUNCTION f();"
        "CREATE RULE r AS ON UPDATE TO old DO INSTEAD DELETE FROM logs;"
    )
    real_database.run(VERSION_12)
    found = await plan(postgres(real_database), {**UP, "12_x.down.sql": "TRUNCATE logs; UPDATE old SET id = 1"}, 11)
    assert found.plan is not None
    assert [(doubt.why, doubt.name) for doubt in found.plan.unjudged] == [
        ("triggers", "public.logs"),
        ("rules", "public.old"),
    ]
