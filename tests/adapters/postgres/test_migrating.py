"""A migration of a real PostgreSQL is done whole or not at all, whatever its files and others do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres.advisory_locks import lock_ids
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.database import migrating
from logcaster_guard.domain.database.migrating import (
    Committed,
    Invariant,
    Migrated,
    MigrationOrder,
    RolledBack,
    Script,
    TableLock,
)
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.server_reasons import (
    AttemptTooLong,
    DirtyVersion,
    LocksNotHad,
    ScriptEndedTransaction,
    ScriptFailed,
    SeveralVersions,
    ToolAtWork,
    VersionMoved,
    VersionNotWritten,
)
from logcaster_guard.domain.errors import DatabaseRefused
from logcaster_guard.messages.database_faults import DatabaseSaid, GuardSchemaForeign
from tests.adapters.database_worlds import COUNT, LOGS, RealWorld, address_of, order_of, unnoted
from tests.adapters.postgres.wire import Fate, Wire
from tests.real.postgresql import RealDatabase

TABLES = """
    SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@pytest.fixture
def world(real_database: RealDatabase) -> RealWorld:
    return RealWorld(real_database)


async def run(world: RealWorld, order: MigrationOrder) -> Migrated:
    session = await world.database.begin()
    try:
        return await session.run(order, unnoted)
    finally:
        await session.aclose()


async def refused(world: RealWorld, *texts: str) -> object:
    """Why files with these texts were not run; nothing has changed."""
    before = world.raw.value(TABLES), world.raw.value(COUNT)
    ended = await run(world, order_of(scripts(*texts)))
    assert isinstance(ended, RolledBack)
    assert (world.raw.value(TABLES), world.raw.value(COUNT)) == before
    return ended.reason


def scripts(*texts: str) -> Sequence[Script]:
    return [Script(f"{12 - at}.down.sql", text, 11 - at) for at, text in enumerate(texts)]


SETTINGS = {
    "search_path": "public",
    "lock_timeout": "2000",
    "statement_timeout": "600000",
    "idle_in_transaction_session_timeout": "60000",
    "client_connection_check_interval": "500",
    "synchronous_commit": "on",
    "default_transaction_read_only": "on",
    "transaction_read_only": "off",
}


async def test_what_a_file_sets_does_not_reach_the_next_one(world: RealWorld) -> None:
    world.raw.run("CREATE SCHEMA other; CREATE TABLE seen (name text, setting text)")
    meddling = (
        "SET search_path = other; SET lock_timeout = 0; SET statement_timeout = 0; SET synchronous_commit = off;"
        "SET LOCAL client_connection_check_interval = 0; SET idle_in_transaction_session_timeout = 0;"
        "SET default_transaction_read_only = off; CREATE TABLE made (id int)"
    )
    noting = "INSERT INTO seen SELECT name, setting FROM pg_settings"
    reading = "SELECT name, setting FROM seen WHERE name = ANY (%s)"
    assert isinstance(await run(world, order_of(scripts(noting, meddling, noting))), Committed)
    with world.raw.connect() as session:
        rows = session.execute(reading, (list(SETTINGS),)).fetchall()
    assert sorted(rows) == sorted(2 * tuple(SETTINGS.items()))
    assert world.raw.value("SELECT version FROM public.schema_migrations") == 9
    assert world.raw.value("SELECT to_regclass('other.made') IS NOT NULL")


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE a; COMMIT; DROP TABLE b",
        "DROP TABLE a; COMMIT AND CHAIN; DROP TABLE b",
        "COMMIT",
        "ROLLBACK; DROP TABLE b",
        "ROLLBACK AND CHAIN; DROP TABLE b",
        "ROLLBACK",
        "ROLLBACK; BEGIN; DROP TABLE b; COMMIT",
        "DROP TABLE a; PREPARE TRANSACTION 'a'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; ROLLBACK; DROP TABLE b",
    ],
)
async def test_a_file_that_ends_the_transaction_changes_nothing(world: RealWorld, text: str) -> None:
    world.raw.run("CREATE TABLE a (id int); CREATE TABLE b (id int)")
    assert await refused(world, "DELETE FROM logs", text) == ScriptEndedTransaction("11.down.sql")


@pytest.mark.parametrize(
    ("text", "line", "sqlstate"),
    [
        ("DROP TABLE logs;\n\nALTER TABLE missing ADD COLUMN x int;\n", 0, "42P01"),
        ("DELETE FROM logs;\n\nSELECT missing FROM logs", 3, "42703"),
        ("DELETE FROM logs;\n-- 주석\nSELEC 1;", 3, "42601"),
        ("DELETE FROM logs; SELECT 1 / 0", 0, "22012"),
        ("DO $$ BEGIN DELETE FROM logs; COMMIT; END $$", 0, "2D000"),
        ("COPY logs (line) FROM stdin", 0, ""),
        ("SET CONSTRAINTS ALL IMMEDIATE", 0, "23503"),
        ("VACUUM logs", 0, "25001"),
    ],
)
async def test_a_file_that_fails_is_named_with_line_and_sqlstate(
    world: RealWorld, text: str, line: int, sqlstate: str
) -> None:
    reason = await refused(world, "DELETE FROM logs WHERE id = 1", text)
    assert isinstance(reason, ScriptFailed)
    assert (reason.file, reason.line, reason.sqlstate) == ("11.down.sql", line, sqlstate)
    assert reason.words


@pytest.mark.parametrize(
    ("text", "rows"),
    [("DELETE FROM schema_migrations", 0), ("UPDATE schema_migrations SET dirty = true", 0)],
)
async def test_a_version_that_cannot_be_written_undoes_the_file(world: RealWorld, text: str, rows: int) -> None:
    assert await refused(world, text) == VersionNotWritten("12.down.sql", "public.schema_migrations", rows)


async def test_going_back_before_the_first_migration_leaves_the_table_empty(world: RealWorld) -> None:
    ended = await run(world, order_of([Script("12", "SELECT 1", 1), Script("1", "DROP TABLE logs", None)]))
    assert isinstance(ended, Committed)
    assert world.raw.value("SELECT count(*) FROM schema_migrations") == 0


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE schema_migrations SET version = 13", VersionMoved("public.schema_migrations", "13", "12")),
        ("DELETE FROM schema_migrations", VersionMoved("public.schema_migrations", "", "12")),
        ("UPDATE schema_migrations SET dirty = true", DirtyVersion("public.schema_migrations", "12")),
        ("INSERT INTO schema_migrations VALUES (1, false)", SeveralVersions("public.schema_migrations", 2)),
    ],
)
async def test_the_version_is_read_again_under_the_locks(world: RealWorld, statement: str, reason: object) -> None:
    session = await world.database.begin()
    world.raw.run(statement)
    ended = await session.run(order_of(scripts("DELETE FROM logs")), unnoted)
    await session.aclose()
    assert ended == RolledBack(reason)  # type: ignore[arg-type] # each is a message
    assert world.raw.value(COUNT) == 10


async def test_a_tool_that_is_at_work_is_left_alone(world: RealWorld) -> None:
    for lock in lock_ids(world.raw.name, TableName("public", "schema_migrations")):
        with world.raw.connect() as tool:
            tool.execute("SELECT pg_advisory_lock(%s)", (lock,))
            assert await refused(world, "DELETE FROM logs") == ToolAtWork(lock)
    assert isinstance(await run(world, order_of(scripts("DELETE FROM logs"))), Committed)


async def test_the_guard_s_schema_is_made_once_by_whoever_comes_first(world: RealWorld) -> None:
    sessions = await asyncio.gather(*(world.database.begin() for _ in range(8)))
    await asyncio.gather(*(session.aclose() for session in sessions))
    assert world.raw.run("SELECT epoch FROM logcaster_guard.epoch") == [(0,)]
    assert len({session.backend for session in sessions}) == 8


async def test_a_schema_of_somebody_else_is_not_the_guard_s(world: RealWorld) -> None:
    world.raw.run("CREATE SCHEMA logcaster_guard", role="postgres")
    with pytest.raises(DatabaseRefused) as error:
        await world.database.begin()
    assert error.value.reason == GuardSchemaForeign("logcaster_guard", "postgres")


async def test_two_who_carry_out_one_operation_do_it_once(world: RealWorld) -> None:
    order = order_of(scripts("DELETE FROM logs WHERE id <= 3"), invariants=[Invariant(COUNT, may_lose=3)])
    ended = await asyncio.gather(*(run(world, order) for _ in range(3)))
    assert sorted(ended, key=repr) == [Committed((10,), (7,)), *[Committed((10,), (7,), repeated=True)] * 2]


@contextmanager
def holding(world: RealWorld, statement: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A transaction of somebody's that has run a statement and goes on."""
    with world.raw.connect() as session:
        session.execute(f"BEGIN; {statement}".encode())
        yield session


class Readers(threading.Thread):
    """Reads the table again and again; `longest` is the longest wait so far, in seconds."""

    def __init__(self, world: RealWorld) -> None:
        super().__init__(daemon=True)
        self._world = world
        self._over = threading.Event()
        self.longest = 0.0
        self.reads = 0

    def run(self) -> None:
        with self._world.raw.connect() as session:
            while not self._over.is_set():
                begun = time.monotonic()
                session.execute("SELECT count(*) FROM logs")
                self.longest = max(self.longest, time.monotonic() - begun)
                self.reads += 1

    def __enter__(self) -> Readers:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(10)


@pytest.mark.parametrize(
    ("lock_timeout", "deadline"),
    [(0.2, 1.0), pytest.param(2.0, 8.0, marks=pytest.mark.slow)],
)
async def test_behind_a_long_select_the_migration_gives_up_and_readers_wait_no_longer_than_it(
    world: RealWorld, lock_timeout: float, deadline: float, capsys: pytest.CaptureFixture[str]
) -> None:
    order = order_of(scripts("DELETE FROM logs"), lock_timeout=lock_timeout, deadline=deadline)
    with holding(world, "SELECT * FROM logs"), Readers(world) as readers:
        begun = time.monotonic()
        ended = await run(world, order)
        lasted = time.monotonic() - begun
    assert isinstance(ended, RolledBack)
    assert isinstance(ended.reason, LocksNotHad)
    assert ended.reason.waited_for == "public.logs"
    assert ended.reason.attempts > 1
    assert world.raw.value(COUNT) == 10
    with capsys.disabled():
        print(  # noqa: T201 - how long others wait is what people ask
            f"\nbehind a long SELECT: {ended.reason.attempts} attempts of {lock_timeout} s in {lasted:.2f} s;"
            f" {readers.reads} reads, of which the longest waited {readers.longest:.2f} s"
        )


async def test_what_lets_go_in_time_only_delays_the_migration(world: RealWorld) -> None:
    order = order_of(scripts("DELETE FROM logs"), lock_timeout=0.1, deadline=20.0)
    with holding(world, "LOCK TABLE logs IN ROW EXCLUSIVE MODE") as somebody:
        migration = asyncio.create_task(run(world, order))
        await asyncio.sleep(0.4)
        assert not migration.done()
        somebody.execute("COMMIT")
        assert isinstance(await migration, Committed)


async def test_a_lock_that_only_a_file_needs_is_waited_for_no_longer(world: RealWorld) -> None:
    world.raw.run("CREATE TABLE other (id int)")
    order = order_of(scripts("DROP TABLE other"), lock_timeout=0.1, deadline=0.5)
    with holding(world, "SELECT * FROM other"):
        ended = await run(world, order)
    assert isinstance(ended, RolledBack)
    assert isinstance(ended.reason, LocksNotHad)
    assert ended.reason.waited_for == "12.down.sql"


async def test_what_counts_can_change_nothing(world: RealWorld) -> None:
    query = "WITH gone AS (DELETE FROM logs RETURNING 1) SELECT count(*) FROM gone"
    ended = await run(world, order_of(scripts("SELECT 1"), invariants=[Invariant(query)]))
    assert isinstance(ended, RolledBack)
    assert isinstance(ended.reason, DatabaseSaid)
    assert ended.reason.sqlstate == "25006"
    assert world.raw.value(COUNT) == 10


@pytest.mark.slow
async def test_a_server_that_hangs_is_given_up(world: RealWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "_EXCHANGES", 1.0)

    async def judge(text: str) -> Fate:
        return Fate.HOLD if "DROP TABLE" in text else Fate.PASS

    order = order_of(scripts("DROP TABLE logs"), statement_timeout=0.1)
    async with Wire(world.raw.server.port, judge) as wire:
        session = await PostgresDatabase(address_of(world.raw, port=wire.port), SystemClock()).begin()
        ended = await session.run(order, unnoted)
        await session.aclose()
    assert ended == RolledBack(AttemptTooLong(1.1, "12.down.sql"))
    assert isinstance(await run(world, order), Committed)


async def test_a_deadlock_is_no_end_of_the_migration(world: RealWorld) -> None:
    world.raw.run("CREATE TABLE other (id int)")
    locks = [TableLock(LOGS), TableLock(TableName("public", "other"))]
    order = order_of(scripts("DROP TABLE other"), locks=locks, lock_timeout=1.0, deadline=20.0)
    with holding(world, "LOCK TABLE other IN ROW EXCLUSIVE MODE") as somebody:
        migration = asyncio.create_task(run(world, order))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(_after_all, somebody)
        assert isinstance(await migration, Committed)


def _after_all(somebody: psycopg.Connection[tuple[object, ...]]) -> None:
    """Want what the migration has; one of both is told of the deadlock."""
    try:
        somebody.execute("SELECT * FROM logs")
        somebody.execute("COMMIT")
    except psycopg.errors.DeadlockDetected:
        somebody.execute("ROLLBACK")


async def test_rows_are_counted_while_nobody_can_add_any(world: RealWorld) -> None:
    over = threading.Event()

    def write() -> None:
        with world.raw.connect() as session:
            while not over.is_set():
                session.execute("INSERT INTO logs DEFAULT VALUES")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        slow = scripts("SELECT pg_sleep(0.2)", "ALTER TABLE logs ADD COLUMN c int")
        ended = await run(world, order_of(slow, invariants=[Invariant(COUNT)]))
    finally:
        over.set()
        writer.join(10)
    assert isinstance(ended, Committed)
    assert ended.before == ended.after
    assert ended.before[0] >= 10
