"""The transaction of a migration: locks first, then the files, the version with each, and what must hold after them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import ceil

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from logcaster_guard.adapters.postgres import guard_schema
from logcaster_guard.adapters.postgres.advisory_locks import lock_ids
from logcaster_guard.adapters.postgres.connection import LOCK_BUSY, Connection, in_transaction, words_of
from logcaster_guard.adapters.postgres.counting import count_now
from logcaster_guard.adapters.postgres.looking import golang_version
from logcaster_guard.domain.database.migrating import Committed, LockMode, MigrationOrder, Script, TableLock
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.server_reasons import (
    DirtyVersion,
    InvariantBroken,
    OfOldLeader,
    OperationOfAnotherPlan,
    ScriptEndedTransaction,
    ScriptFailed,
    SeveralVersions,
    ToolAtWork,
    VersionMoved,
    VersionNotWritten,
)
from logcaster_guard.domain.errors import DatabaseRefused
from logcaster_guard.domain.message import Reason
from logcaster_guard.ports import Clock

_HELD = "SELECT id FROM unnest(%s::bigint[]) AS id WHERE NOT pg_catalog.pg_try_advisory_xact_lock(id) LIMIT 1"

_READ_ONLY = "25006"

# What a file has set must not reach the next one, nor the guard's own statements. Files are read as they were judged:
# with another meaning of backslashes, what was the inside of a string is a statement.
_SETTINGS = """
    RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL;
    SET LOCAL default_transaction_read_only = on;
    SET LOCAL standard_conforming_strings = on;
    SET LOCAL client_encoding = 'UTF8';
    SET LOCAL search_path = {path};
    SET LOCAL lock_timeout = {lock};
    SET LOCAL statement_timeout = {statement};
    SET LOCAL idle_in_transaction_session_timeout = '60s';
    SET LOCAL client_connection_check_interval = '500ms';
    SET LOCAL synchronous_commit = on
"""


class Refused(Exception):
    """The transaction has to be rolled back, and another one would have to be as well."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Busy(Exception):
    """A lock was not had in time; `what` was waited for."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Transaction:
    """All that is done between BEGIN and COMMIT; `at` names what it is at, for whoever is told of a lock."""

    def __init__(self, connection: Connection, order: MigrationOrder, versions: TableName, clock: Clock) -> None:
        self._connection = connection
        self._order = order
        self._versions = versions
        self._clock = clock
        self.at = guard_schema.EPOCH

    async def work(self, database: str, begun: Callable[[int], Awaitable[None]]) -> Committed:
        """Do everything but COMMIT; what an earlier attempt did is `repeated`.

        Raises `Refused`, `psycopg.Error`, and what `begun` raises.
        """
        order = self._order
        await self._connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        await self._set()
        if (done := await self._claim()) is not None:
            return done
        await self._keep_tools_out(database)
        await self._lock_tables()
        await self._check_version()
        transaction = await self._transaction()
        before = await self._count()
        await begun(transaction)
        await self._set()
        version: int | None = order.present
        for script in order.scripts:
            await self._run(script, version, transaction)
            version = script.leaves
        after = await self._count()
        self._check_invariants(before, after)
        await guard_schema.complete(self._connection, order.operation, before, after)
        if not in_transaction(self._connection) or await self._transaction() != transaction:
            raise Refused(ScriptEndedTransaction(order.scripts[-1].name))
        return Committed(before, after)

    async def _set(self) -> None:
        settings = sql.SQL(_SETTINGS).format(
            path=sql.SQL(", ").join(sql.Identifier(schema) for schema in self._order.search_path) or sql.Literal(""),
            lock=sql.Literal(ceil(1000 * self._order.lock_timeout)),
            statement=sql.Literal(ceil(1000 * self._order.statement_timeout)),
        )
        await self._connection.execute(settings)

    async def _keep_tools_out(self, database: str) -> None:
        held = await (
            await self._connection.execute(_HELD, (list(lock_ids(database, self._versions)),))
        ).fetchone()  # fmt: skip
        if held is not None:
            raise Refused(ToolAtWork(held[0]))

    async def _claim(self) -> Committed | None:
        order = self._order
        newest = await guard_schema.fence(self._connection, order.epoch)
        if newest > order.epoch:
            raise Refused(OfOldLeader(order.epoch, newest))
        if await guard_schema.claim(self._connection, order):
            return None
        done = await guard_schema.find(self._connection, order.operation)
        if done is None or done.plan != order.plan:
            raise Refused(OperationOfAnotherPlan(order.operation))
        return replace(done.committed, repeated=True)

    async def _lock_tables(self) -> None:
        """Every reader of a table that is locked waits until the last one is: all of them wait no longer than one."""
        latest = self._clock.monotonic() + self._order.lock_timeout
        for lock in (*self._order.locks, TableLock(self._versions, LockMode.SHARE_ROW_EXCLUSIVE)):
            self.at = f"{lock.table.schema}.{lock.table.name}"
            left = latest - self._clock.monotonic()
            if left <= 0:
                raise Busy(self.at)
            statement = sql.SQL("SET LOCAL lock_timeout = {}; LOCK TABLE {} IN {} MODE").format(
                sql.Literal(ceil(1000 * left)),
                sql.Identifier(lock.table.schema, lock.table.name),
                sql.SQL(lock.mode.value),
            )
            await self._connection.execute(statement)

    async def _check_version(self) -> None:
        seen = await golang_version(self._connection, self._versions)
        table = self._versions_name
        if seen.rows > 1:
            raise Refused(SeveralVersions(table, seen.rows))
        if seen.dirty:
            raise Refused(DirtyVersion(table, seen.told))
        if seen.version != self._order.present:
            raise Refused(VersionMoved(table, seen.told, str(self._order.present)))

    async def _transaction(self) -> int:
        """The number of the transaction that is open now."""
        cursor = await self._connection.execute("SELECT pg_catalog.pg_current_xact_id()::text")
        ((number,),) = await cursor.fetchall()
        return int(number)

    async def _count(self) -> tuple[int, ...]:
        try:
            return await count_now(self._connection, [invariant.query for invariant in self._order.invariants])
        except DatabaseRefused as error:
            raise Refused(error.reason) from None

    async def _run(self, script: Script, version: int | None, transaction: int) -> None:
        self.at = script.name
        try:
            # Without parameters this is the simple protocol, which takes many statements at once.
            await self._connection.execute(script.text.encode())
        except psycopg.Error as error:
            raise self._failed(script, error) from None
        if not in_transaction(self._connection):
            raise Refused(ScriptEndedTransaction(script.name))
        await self._set()
        if await self._transaction() != transaction:
            raise Refused(ScriptEndedTransaction(script.name))
        await self._write_version(script, version)

    def _failed(self, script: Script, error: psycopg.Error) -> Exception:
        if error.sqlstate in LOCK_BUSY:
            return Busy(script.name)
        if self._connection.closed:
            return error
        # The guard's own transaction may write: one that may not has followed it.
        if self._connection.info.transaction_status is TransactionStatus.IDLE or error.sqlstate == _READ_ONLY:
            return Refused(ScriptEndedTransaction(script.name))
        position = int(error.diag.statement_position or 0)
        line = script.text.count("\n", 0, position - 1) + 1 if position else 0
        return Refused(ScriptFailed(script.name, line, error.sqlstate or "", words_of(error)))

    async def _write_version(self, script: Script, version: int | None) -> None:
        table = sql.Identifier(self._versions.schema, self._versions.name)
        if script.leaves is None:
            statement = sql.SQL("DELETE FROM {} WHERE version = %s AND NOT dirty").format(table)
            cursor = await self._connection.execute(statement, (version,))
        else:
            statement = sql.SQL("UPDATE {} SET version = %s WHERE version = %s AND NOT dirty").format(table)
            cursor = await self._connection.execute(statement, (script.leaves, version))
        if cursor.rowcount != 1:
            raise Refused(VersionNotWritten(script.name, self._versions_name, cursor.rowcount))

    def _check_invariants(self, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        for invariant, was, now in zip(self._order.invariants, before, after, strict=True):
            if not invariant.holds(was, now):
                raise Refused(
                    InvariantBroken(invariant.query, was, now, invariant.may_lose, invariant.may_gain)
                )  # fmt: skip

    @property
    def _versions_name(self) -> str:
        return f"{self._versions.schema}.{self._versions.name}"
