"""One migration: attempts to get its locks, and the transaction in which all of it is done.

Whoever dies before COMMIT leaves the old version, and whoever dies after it the new one. What is in doubt is only
whether a COMMIT that was sent arrived.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC

import psycopg

from logcaster_guard.adapters.postgres import guard_schema, looking
from logcaster_guard.adapters.postgres.connection import (
    LOCK_BUSY,
    Address,
    Connection,
    connect,
    named,
    roll_back,
)
from logcaster_guard.adapters.postgres.transaction import Busy, Refused, Transaction
from logcaster_guard.domain.database.migrating import (
    Backend,
    Committed,
    CommitUnknown,
    Migrated,
    MigrationOrder,
    RolledBack,
)
from logcaster_guard.domain.database.server import TableName, hindrances
from logcaster_guard.domain.database.server_reasons import AttemptTooLong, LocksNotHad
from logcaster_guard.domain.message import Message
from logcaster_guard.messages.database_faults import CommitUnanswered, DatabaseSaid
from logcaster_guard.ports import Clock

COMMIT_WITHIN = 30.0
"""Seconds in which COMMIT is answered."""

_PAUSES = (0.2, 4.0)
"""The first pause between two attempts and the longest, in seconds; each is twice the one before."""

_BACKEND = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"


class PostgresSession:
    """Implements `ports.MigrationSession`; made by `begin`."""

    def __init__(
        self, connection: Connection, backend: Backend, address: Address, clock: Clock, hindered: tuple[Message, ...]
    ) -> None:
        self._connection = connection
        self.backend = backend
        self._address = address
        self._clock = clock
        self._hindered = hindered

    @classmethod
    async def begin(cls, address: Address, clock: Clock) -> PostgresSession:
        """A session of its own, and the guard's schema with it unless something is in the way."""
        async with AsyncExitStack() as stack:
            connection = await connect(address)
            stack.push_async_callback(connection.close)
            try:
                found = hindrances(await looking.look(connection, address.schema))
                if not found:
                    await guard_schema.make(connection)
                ((pid, started),) = await (await connection.execute(_BACKEND)).fetchall()
                # Whatever comes after the end of our transaction, as in a file that ends it, can write nothing.
                await connection.execute("SET default_transaction_read_only = on")
            except psycopg.Error as error:
                raise named(error, connection, address) from None
            stack.pop_all()
        return cls(connection, Backend(pid, started.astimezone(UTC)), address, clock, found)

    async def run(self, order: MigrationOrder, begun: Callable[[int], Awaitable[None]]) -> Migrated:
        """See the port."""
        if self._hindered:
            return RolledBack(self._hindered[0])
        latest = self._clock.monotonic() + order.deadline
        attempts, pause = 0, _PAUSES[0]
        while True:
            attempts += 1
            try:
                return await self._attempt(order, begun)
            except Busy as busy:
                # Some after others, so that two who wait for each other do not meet again.
                at = self._clock.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
                if at + order.lock_timeout > latest:
                    return RolledBack(LocksNotHad(order.deadline, attempts, busy.what))
            await self._clock.sleep_until(at)
            pause = min(2 * pause, _PAUSES[1])

    async def aclose(self) -> None:
        """See the port."""
        await self._connection.close()

    async def _attempt(self, order: MigrationOrder, begun: Callable[[int], Awaitable[None]]) -> Migrated:
        table = TableName(self._address.schema, looking.GOLANG_MIGRATE)
        transaction = Transaction(self._connection, order, table, self._clock)
        limit = asyncio.timeout(order.longest)
        try:
            async with limit:
                committed = await transaction.work(self._address.name, begun)
            return committed if committed.repeated else await self._commit(committed)
        except Refused as refused:
            return RolledBack(refused.reason)
        except TimeoutError:
            if not limit.expired():
                raise
            return RolledBack(AttemptTooLong(order.longest, transaction.at))
        except psycopg.Error as error:
            if error.sqlstate in LOCK_BUSY:
                raise Busy(transaction.at) from None
            return RolledBack(named(error, self._connection, self._address).reason)
        finally:
            await roll_back(self._connection)

    async def _commit(self, committed: Committed) -> Migrated:
        try:
            async with asyncio.timeout(COMMIT_WITHIN):
                cursor = await self._connection.execute("COMMIT")
        except (psycopg.Error, TimeoutError) as error:
            # An error that leaves the session as it is was the answer; one that ends it may come after the COMMIT.
            if isinstance(error, psycopg.Error) and error.sqlstate and not self._connection.closed:
                return RolledBack(named(error, self._connection, self._address).reason)
            return CommitUnknown(CommitUnanswered(self._address.place))
        # A transaction that has failed is rolled back by COMMIT, without an error.
        done = cursor.statusmessage or ""
        return committed if done == "COMMIT" else RolledBack(DatabaseSaid("", done))
