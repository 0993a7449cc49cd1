"""The `Database` port on PostgreSQL: each call has a session of its own, directly at the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from logcaster_guard.adapters.postgres import looking, outcome
from logcaster_guard.adapters.postgres.connection import Address, Connection, connected
from logcaster_guard.adapters.postgres.counting import count_now
from logcaster_guard.adapters.postgres.session import PostgresSession
from logcaster_guard.domain.database.migrating import Attempt, Outcome
from logcaster_guard.domain.database.server import DatabaseState, TableName
from logcaster_guard.domain.errors import DatabaseUnavailable
from logcaster_guard.messages.database_faults import ConnectFault, DatabaseUnreached
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Clock

LOOK_WITHIN, COUNT_WITHIN, OUTCOME_WITHIN = 30.0, 300.0, 60.0
"""Seconds in which each is answered."""


class PostgresDatabase:
    """Implements `ports.Database`."""

    def __init__(self, address: Address, clock: Clock) -> None:
        self._address = address
        self._clock = clock

    async def look(self) -> DatabaseState:
        """See the port."""
        async with self._session(LOOK_WITHIN) as connection:
            return await looking.look(connection, self._address.schema)

    async def count(self, queries: Sequence[str]) -> tuple[int, ...]:
        """See the port."""
        async with self._session(COUNT_WITHIN) as connection:
            await connection.execute(
                f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{COUNT_WITHIN:.0f}s';"
                " SET LOCAL lock_timeout = '2s'; SET LOCAL client_connection_check_interval = '500ms';"
                " SET LOCAL standard_conforming_strings = on; SET LOCAL client_encoding = 'UTF8'".encode()
            )
            return await count_now(connection, queries)

    async def begin(self) -> PostgresSession:
        """See the port."""
        async with self._within(LOOK_WITHIN):
            return await PostgresSession.begin(self._address, self._clock)

    async def outcome(self, attempt: Attempt, epoch: int) -> Outcome:
        """See the port."""
        versions = TableName(self._address.schema, looking.GOLANG_MIGRATE)
        async with self._session(OUTCOME_WITHIN) as connection:
            return await outcome.outcome(connection, versions, attempt, epoch, self._clock)

    async def aclose(self) -> None:
        """Nothing is kept between calls."""

    @asynccontextmanager
    async def _session(self, within: float) -> AsyncIterator[Connection]:
        async with self._within(within), connected(self._address) as connection:
            yield connection

    @asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            late = DatabaseUnreached(self._address.place, ConnectFault.TIMED_OUT, "")
            raise failure(DatabaseUnavailable, late) from None
