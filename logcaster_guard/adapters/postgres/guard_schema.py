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
EPOCH, OPERATION = f"{SCHEMA}.epoch", f"{SCHEMA}.operation"

_MAKING = 0x6C6F67_67756172  # "loggua" and "r": any number of our own
_MAKE = f"""
    BEGIN;
    SET LOCAL lock_timeout = '5s';
    SELECT pg_advisory_xact_lock({_MAKING});
    CREATE SCHEMA IF NOT EXISTS {SCHEMA};
    CREATE TABLE IF NOT EXISTS {EPOCH} (
        row boolean PRIMARY KEY DEFAULT true CHECK (row), epoch bigint NOT NULL);
    INSERT INTO {EPOCH} (epoch) VALUES (0) ON CONFLICT DO NOTHING;
    CREATE TABLE IF NOT EXISTS {SCHEMA}.completion (
        operation text PRIMARY KEY, counted_before bigint[] NOT NULL, counted_after bigint[] NOT NULL,
        at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS {OPERATION} (
        operation text PRIMARY KEY REFERENCES {SCHEMA}.completion DEFERRABLE INITIALLY DEFERRED,
        epoch bigint NOT NULL, plan text NOT NULL, present bigint NOT NULL, destination bigint,
        transaction xid8 NOT NULL, at timestamptz NOT NULL DEFAULT now());
    COMMIT
"""  # noqa: S608 - names of our own


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that was carried out, by which plan and in which transaction."""

    plan: str
    transaction: int
    committed: Committed


async def make(connection: Connection) -> None:
    """Make what is not there yet; raises `DatabaseRefused` where a schema of this name is somebody else's."""
    owner = await (
        await connection.execute(
            "SELECT nspowner::regrole::text, pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = %s",
            (SCHEMA,),
        )
    ).fetchone()
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
    ((seen,),) = await (await connection.execute(f"SELECT epoch FROM {EPOCH} FOR UPDATE")).fetchall()  # noqa: S608 - as above
    if seen < epoch:
        await connection.execute(f"UPDATE {EPOCH} SET epoch = %s", (epoch,))  # noqa: S608 - as above
    return max(int(seen), epoch)


async def claim(connection: Connection, order: MigrationOrder) -> bool:
    """Whether this transaction is the one to carry the operation out; an open one that claims it too is waited for."""
    cursor = await connection.execute(
        f"INSERT INTO {OPERATION} (operation, epoch, plan, present, destination, transaction)"  # noqa: S608 - as above
        " VALUES (%s, %s, %s, %s, %s, pg_current_xact_id()) ON CONFLICT DO NOTHING",
        (order.operation, order.epoch, order.plan, order.present, order.destination),
    )
    return cursor.rowcount == 1


async def complete(connection: Connection, operation: str, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    """Write down that all of the operation is done, so that the transaction can be committed."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.completion (operation, counted_before, counted_after) VALUES (%s, %s, %s)",  # noqa: S608 - as above
        (operation, list(before), list(after)),
    )


async def find(connection: Connection, operation: str) -> Operation | None:
    """The operation, if it was carried out."""
    cursor = await connection.execute(
        f"SELECT o.plan, o.transaction::text, c.counted_before, c.counted_after"  # noqa: S608 - as above
        f" FROM {OPERATION} o JOIN {SCHEMA}.completion c USING (operation) WHERE operation = %s",
        (operation,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    plan, transaction, before, after = row
    return Operation(plan, int(transaction), Committed(tuple(before), tuple(after), repeated=True))
