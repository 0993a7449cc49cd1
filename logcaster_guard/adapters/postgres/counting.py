"""Queries that answer with one whole number, and can change nothing."""

from __future__ import annotations

from collections.abc import Sequence

from logcaster_guard.adapters.postgres.connection import Connection
from logcaster_guard.domain.errors import DatabaseRefused
from logcaster_guard.messages.database_faults import NotOneNumber
from logcaster_guard.messages.texts import failure


async def count_now(connection: Connection, queries: Sequence[str]) -> tuple[int, ...]:
    """What each query answers with, in the transaction that is open.

    Each is run read-only and undone, so that it can change neither rows nor settings.
    """
    counted: list[int] = []
    for query in queries:
        await connection.execute("SAVEPOINT counting; SET LOCAL transaction_read_only = on")
        counted.append(await _number(connection, query))
        await connection.execute("ROLLBACK TO SAVEPOINT counting; RELEASE SAVEPOINT counting")
    return tuple(counted)


async def _number(connection: Connection, query: str) -> int:
    # The extended protocol, which `binary` asks for, takes one statement and no more.
    cursor = await connection.execute(query.encode(), binary=True)
    rows = await cursor.fetchmany(2) if cursor.description is not None else []
    if len(rows) == 1 and len(rows[0]) == 1 and type(rows[0][0]) is int:
        return rows[0][0]
    raise failure(DatabaseRefused, NotOneNumber(query))
