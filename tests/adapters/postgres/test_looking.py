"""What a real PostgreSQL shows of itself, and in which words it cannot be reached."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres import connection
from logcaster_guard.adapters.postgres.advisory_locks import lock_ids
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.database import server
from logcaster_guard.domain.database.migrating import RolledBack, Script
from logcaster_guard.domain.database.server import MigrationTool, SchemaVersion, TableName, hindrances
from logcaster_guard.domain.database.server_reasons import (
    DirtyVersion,
    NoMigrationTool,
    NotWritable,
    OtherMajor,
    PoolerBetween,
    SeveralVersions,
    ToolReadOnly,
)
from logcaster_guard.domain.errors import DatabaseRefused, DatabaseUnavailable
from logcaster_guard.domain.message import Message
from logcaster_guard.fields.secrets import Secret
from logcaster_guard.messages.database_faults import ConnectFault, NotOneNumber
from tests.adapters.database_worlds import COUNT, VERSIONS_AT_12, RealWorld, address_of, order_of
from tests.fakes.database import state_at
from tests.real.postgresql import PASSWORD, ROLE, RealDatabase, owner
from tests.real.presence import required
from tests.real.processes import Program, free_port
from tests.real.waiting import until

VERSIONS = TableName("public", "schema_migrations")
ALEMBIC = """
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('a1f')
"""
EMPTY, DIRTY, SECOND = (
    f"{VERSIONS_AT_12}; {statement}"
    for statement in (
        "DELETE FROM schema_migrations",
        "UPDATE schema_migrations SET dirty = true",
        "INSERT INTO schema_migrations VALUES (11, false)",
    )
)
FLYWAY = """
    CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), success boolean NOT NULL);
    INSERT INTO flyway_schema_history VALUES (1, '1', true), (2, '1.2', true), (3, NULL, true), (4, '2', false)
"""


def database_of(raw: RealDatabase, **changed: object) -> PostgresDatabase:
    return PostgresDatabase(address_of(raw, **changed), SystemClock())


async def test_a_database_tells_what_it_is(real_database: RealDatabase) -> None:
    real_database.run(VERSIONS_AT_12)
    state = await database_of(real_database).look()
    assert state.major == 15
    assert (state.database, state.owner, state.role) == (real_database.name, ROLE, ROLE)
    assert (state.superuser, state.may_create, state.pooler, state.standby, state.read_only) == (
        False,
        True,
        False,
        False,
        False,
    )
    assert state.search_path == ("public",)
    assert state.size > 1_000_000
    assert state.schema_version == SchemaVersion(MigrationTool.GOLANG_MIGRATE, VERSIONS, 1, 12, "12")
    assert hindrances(state) == ()


@pytest.mark.parametrize(
    ("made", "seen", "hindrance"),
    [
        ("SELECT", None, NoMigrationTool()),
        ("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)", None, NoMigrationTool()),
        (
            EMPTY,
            SchemaVersion(MigrationTool.GOLANG_MIGRATE, VERSIONS, 0, None, ""),
            None,
        ),
        (
            DIRTY,
            SchemaVersion(MigrationTool.GOLANG_MIGRATE, VERSIONS, 1, 12, "12", dirty=True),
            DirtyVersion("public.schema_migrations", "12"),
        ),
        (
            SECOND,
            SchemaVersion(MigrationTool.GOLANG_MIGRATE, VERSIONS, 2, None, "12"),
            SeveralVersions("public.schema_migrations", 2),
        ),
        (
            ALEMBIC,
            SchemaVersion(MigrationTool.ALEMBIC, TableName("public", "alembic_version"), 1, None, "a1f"),
            ToolReadOnly("Alembic", "public.alembic_version"),
        ),
        (
            FLYWAY,
            SchemaVersion(MigrationTool.FLYWAY, TableName("public", "flyway_schema_history"), 2, None, "1.2"),
            ToolReadOnly("Flyway", "public.flyway_schema_history"),
        ),
    ],
    ids=["nothing", "another tool's table", "before the first", "dirty", "two rows", "Alembic", "Flyway"],
)
async def test_the_version_is_what_the_tool_has_written(
    real_database: RealDatabase, made: str, seen: SchemaVersion | None, hindrance: Message | None
) -> None:
    real_database.run(made)
    state = await database_of(real_database).look()
    assert state.schema_version == seen
    assert hindrances(state) == (() if hindrance is None else (hindrance,))


async def test_the_table_is_looked_for_in_the_schema_of_the_settings(real_database: RealDatabase) -> None:
    real_database.run("CREATE SCHEMA app; SET search_path = app;" + VERSIONS_AT_12)
    assert (await database_of(real_database).look()).schema_version is None
    seen = (await database_of(real_database, schema="app").look()).schema_version
    assert seen is not None
    assert (seen.table, seen.version) == (TableName("app", "schema_migrations"), 12)


def test_every_hindrance_is_named_at_once() -> None:
    state = replace(state_at(12), server_version=160_002, pooler=True, standby=True, schema_version=None)
    assert hindrances(state) == (OtherMajor(16, 15), PoolerBetween(), NotWritable(standby=True), NoMigrationTool())


async def test_another_major_version_is_not_migrated(
    real_database: RealDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_database.run(VERSIONS_AT_12)
    monkeypatch.setattr(server, "MAJOR", 14)
    assert await refusal(database_of(real_database)) == OtherMajor(15, 14)


async def test_a_database_that_takes_no_writes_is_not_migrated(real_database: RealDatabase) -> None:
    real_database.run(f"{VERSIONS_AT_12}; ALTER DATABASE {real_database.name} SET default_transaction_read_only = on")
    assert await refusal(database_of(real_database)) == NotWritable(standby=False)


@pytest.fixture
def pgbouncer(real_database: RealDatabase, tmp_path: Path) -> Iterator[int]:
    """The port of a pooler that gives each transaction any of its sessions."""
    binary, port = required("pgbouncer"), free_port()
    settings = real_database.server.folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{real_database.name} = host=127.0.0.1 port={real_database.server.port} user={ROLE}"
        f" password='{PASSWORD}'\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\n",
        "utf-8",
    )
    program = Program("pgbouncer", [binary, str(settings)], tmp_path, user=owner())
    yield port
    program.stop()


async def test_a_pooler_is_recognised_and_nothing_is_migrated_through_it(
    real_database: RealDatabase, pgbouncer: int
) -> None:
    real_database.run(VERSIONS_AT_12)
    database = database_of(real_database, port=pgbouncer)

    async def reached() -> bool:
        try:
            return (await database.look()).pooler
        except DatabaseUnavailable:
            return False

    await until(reached, 10)
    assert await refusal(database) == PoolerBetween()
    assert real_database.value("SELECT to_regnamespace('logcaster_guard') IS NULL")


async def refusal(database: PostgresDatabase) -> object:
    """Why a migration is not begun."""
    session = await database.begin()

    async def begun(_: int) -> None:
        raise AssertionError

    ended = await session.run(order_of([Script("12", "SELECT 1", 11)]), begun)
    await session.aclose()
    assert isinstance(ended, RolledBack)
    return ended.reason


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"password": Secret(plain="wrong guess")}, "the server does not take the password"),
        ({"name": "missing"}, "there is no such database"),
        ({"port": 1}, "no server listens there"),
        ({"host": "no-such-host.invalid"}, "the host name does not resolve"),
        ({"sslmode": "require"}, "the server has no TLS and database.sslmode demands it"),
        ({"role": "nobody"}, "the server does not take the password"),
    ],
    ids=["password", "database", "server", "name", "TLS", "role"],
)
async def test_what_cannot_be_reached_is_told_in_one_sentence(
    real_database: RealDatabase, changed: dict[str, object], told: str
) -> None:
    address = address_of(real_database, **changed)
    with pytest.raises(DatabaseUnavailable) as unavailable:
        await PostgresDatabase(address, SystemClock()).look()
    place = f"{address.role}@{address.host}:{address.port}/{address.name}"
    assert str(unavailable.value) == f"Cannot use the database {place}: {told}."
    assert "wrong guess" not in "".join(traceback.format_exception(unavailable.value))


async def test_what_answers_and_is_no_postgresql_is_told(real_database: RealDatabase) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        database = database_of(real_database, port=listener.sockets[0].getsockname()[1])
        with pytest.raises(DatabaseUnavailable) as unavailable:
            await database.look()
    assert "no PostgreSQL server" in str(unavailable.value)


@pytest.mark.parametrize(
    ("said", "fault", "words"),
    [
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "a", no encryption', ConnectFault.TLS_NEEDED, ""),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", SSL encryption', ConnectFault.NOT_ADMITTED, ""),
        ("SSL error: certificate verify failed", ConnectFault.CERTIFICATE, "SSL error: certificate verify failed"),
        ("FATAL:  sorry, too many clients already", ConnectFault.FULL, ""),
        ("FATAL:  the database system is in recovery mode", ConnectFault.STARTING, ""),
        ("connection timeout expired", ConnectFault.TIMED_OUT, ""),
        ("FATAL:  제국", ConnectFault.OTHER, "FATAL: 제국"),
        ("odd conninfo with s3cr t/1 in it", ConnectFault.OTHER, ""),
        ("odd conninfo with s3cr%20t%2F1 in it", ConnectFault.OTHER, ""),
    ],
)
def test_libpq_s_words_are_quoted_only_without_the_password(said: str, fault: ConnectFault, words: str) -> None:
    told = connection._unreached(said, "a@b:1/c", "s3cr t/1")
    assert (told.fault, str(told.words).replace("  ", " ")) == (fault, words)


@pytest.mark.parametrize(
    ("query", "sqlstate"),
    [
        ("DELETE FROM logs RETURNING 1", "25006"),
        ("SELECT 1; SELECT 2", "42601"),
        ("SELECT line FROM logs LIMIT 1", ""),
        ("SELECT id FROM logs", ""),
        ("SELECT NULL::int", ""),
        ("SELECT 1, 2", ""),
        ("SHOW work_mem", ""),
        ("COMMIT", ""),
    ],
)
async def test_what_counts_nothing_is_refused(real_database: RealDatabase, query: str, sqlstate: str) -> None:
    world = RealWorld(real_database)
    with pytest.raises(DatabaseRefused) as refused:
        await world.database.count([query])
    assert refused.value.sqlstate == sqlstate
    assert sqlstate or refused.value.reason == NotOneNumber(query)
    assert await world.database.count([COUNT, "SELECT count(*) FROM logs WHERE line LIKE '%x%'"]) == (10, 10)


def test_the_lock_of_golang_migrate_is_its_own() -> None:
    ids = lock_ids("lc", VERSIONS)
    assert ids[:2] == (1510044315, 3630060299)
    assert len(set(ids)) == 6
