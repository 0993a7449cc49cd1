"""The guard's own schema: the epoch of the last leader that was here, and the operations that were carried out.

An operation refers to its completion by a constraint that is checked at COMMIT. The completion is written last, so a
COMMIT that comes from anywhere else, such as a migration file, fails and undoes everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from logcaster_guard.adapters.postgres.connection import Connection
from logcaster_guard.domain.database.migrating import Committed, MigrationOrder
from logcaster_guard.domain.errors import DatabaseRefused
from logcaster_guard.messages.database_faults import GuardSchemaForeign
from logcaster_guard.messages.texts import failure

SCHEMA = "logcaster_guard"
EPOCH = f"{SCHEMA}.epoch"

_OWNER = "SELECT nspowner::regrole::text, pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = %s"
_MAKE = """
    BEGIN;
    SET LOCAL lock_timeout = '5s';
    SELECT pg_advisory_xact_lock(hashtextextended('logcaster_guard', 0));
    CREATE SCHEMA IF NOT EXISTS logcaster_guard;
    CREATE TABLE IF NOT EXISTS logcaster_guard.epoch (
        row boolean PRIMARY KEY DEFAULT true CHECK (row), epoch bigint NOT NULL);
    INSERT INTO logcaster_guard.epoch (epoch) VALUES (0) ON CONFLICT DO NOTHING;
    CREATE TABLE IF NOT EXISTS logcaster_guard.completion (
        operation text PRIMARY KEY, counted_before bigint[] NOT NULL, counted_after bigint[] NOT NULL,
        at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS logcaster_guard.operation (
        operation text PRIMARY KEY REFERENCES logcaster_guard.completion DEFERRABLE INITIALLY DEFERRED,
        epoch bigint NOT NULL, plan text NOT NULL, present bigint NOT NULL, destination bigint,
        transaction xid8 NOT NULL, at timestamptz NOT NULL DEFAULT now());
    COMMIT
"""
_CLAIM = """
    INSERT INTO logcaster_guard.operation (operation, epoch, plan, present, destination, transaction)
    VALUES (%s, %s, %s, %s, %s, pg_current_xact_id()) ON CONFLICT DO NOTHING
"""
_COMPLETE = """
    INSERT INTO logcaster_guard.completion (operation, counted_before, counted_after) VALUES (%s, %s, %s)
"""
_FIND = """
    SELECT plan, transaction::text, counted_before, counted_after
      FROM logcaster_guard.operation JOIN logcaster_guard.completion USING (operation) WHERE operation = %s
"""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that was carried out, by which plan and in which transaction."""

    plan: str
    transaction: int
    committed: Committed


async def make(connection: Connection) -> None:
    """Make what is not there yet; raises `DatabaseRefused` where a schema of this name is somebody else's."""
    owner = await (await connection.execute(_OWNER, (SCHEMA,))).fetchone()
    if owner is not None and not owner[1]:
        raise failure(DatabaseRefused, GuardSchemaForeign(SCHEMA, owner[0]))
    if owner is None or not await exists(connection):
        await connection.execute(_MAKE.encode())


async def exists(connection: Connection) -> bool:
    """Whether it was made."""
    cursor = await connection.execute(
        "SELECT FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relname = 'operation'", (SCHEMA,)
    )
    return cursor.rowcount == 1


async def fence(connection: Connection, epoch: int) -> int:
    """The newest epoch that was here, with this one; nobody else can ask until this transaction has ended.

    Where it is greater than `epoch`, a newer leader has taken over.
    """
    cursor = await connection.execute("SELECT epoch FROM logcaster_guard.epoch FOR UPDATE")
    ((seen,),) = await cursor.fetchall()
    if seen < epoch:
        await connection.execute("UPDATE logcaster_guard.epoch SET epoch = %s", (epoch,))
    return max(int(seen), epoch)


async def claim(connection: Connection, order: MigrationOrder) -> bool:
    """Whether this transaction is the one to carry the operation out; an open one that claims it too is waited for."""
    claimed = (order.operation, order.epoch, order.plan, order.present, order.destination)
    cursor = await connection.execute(_CLAIM, claimed)
    return cursor.rowcount == 1


async def complete(connection: Connection, operation: str, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    """Write down that all of the operation is done, so that the transaction can be committed."""
    await connection.execute(_COMPLETE, (operation, list(before), list(after)))


async def find(connection: Connection, operation: str) -> Operation | None:
    """The operation, if it was carried out."""
    row = await (await connection.execute(_FIND, (operation,))).fetchone()
    if row is None:
        return None
    plan, transaction, before, after = row
    return Operation(plan, int(transaction), Committed(tuple(before), tuple(after), repeated=True))
