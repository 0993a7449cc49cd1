"""How an attempt ended, asked when nothing of it can go on: its backend has ended, and nobody else holds the epoch."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from logcaster_guard.adapters.postgres import guard_schema, looking
from logcaster_guard.adapters.postgres.connection import LOCK_BUSY, Connection, roll_back, words_of
from logcaster_guard.adapters.postgres.guard_schema import Operation
from logcaster_guard.domain.database.migrating import (
    Attempt,
    Backend,
    NotCommitted,
    Outcome,
    OutcomeUnclear,
    StillOpen,
)
from logcaster_guard.domain.database.server import SchemaVersion, TableName
from logcaster_guard.domain.database.server_reasons import OfOldLeader
from logcaster_guard.messages.database_faults import (
    BackendRemains,
    BackendUnseen,
    DatabaseSaid,
    EpochHeld,
    GuardSchemaMissing,
    TracesDisagree,
)
from logcaster_guard.ports import Clock

END_WITHIN = 10.0
"""Seconds that a backend has to end."""

EPOCH_WITHIN = 2.0
"""Seconds in which another session lets go of the epoch."""

_POLL = 0.05
_SEEN = "SELECT backend_start FROM pg_stat_activity WHERE pid = %s"
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"
# A number that the server has not given out yet was lost in a crash: what commits is written down first, so it did not.
_STATUS = """
    SELECT CASE WHEN id >= pg_snapshot_xmax(pg_current_snapshot()) THEN 'aborted' ELSE pg_xact_status(id) END
      FROM (SELECT %s::text::xid8 AS id) AS asked
"""


@dataclass(frozen=True, slots=True)
class Traces:
    """What an attempt has left, all seen at one moment.

    Each status is what the server says of a transaction, '' where it can say nothing; `own` is of the attempt's, `done`
    of the one that carried the operation out, where one did.
    """

    version: SchemaVersion
    operation: Operation | None
    own: str
    done: str


async def outcome(connection: Connection, versions: TableName, attempt: Attempt, epoch: int, clock: Clock) -> Outcome:
    """See the port; `versions` is the table of golang-migrate."""
    if (hindrance := await _end(connection, attempt.backend, clock)) is not None:
        return hindrance
    if not await guard_schema.exists(connection):
        return OutcomeUnclear(GuardSchemaMissing(guard_schema.SCHEMA))
    try:
        await connection.execute(
            f"BEGIN; SET LOCAL lock_timeout = {1000 * EPOCH_WITHIN:.0f}; SET LOCAL synchronous_commit = on".encode()
        )
        newest = await guard_schema.fence(connection, epoch)
        if newest > epoch:
            return OutcomeUnclear(OfOldLeader(epoch, newest))
        traces = await _traces(connection, versions, attempt)
        await connection.execute("COMMIT")
    except psycopg.Error as error:
        if error.sqlstate in LOCK_BUSY:
            return StillOpen(EpochHeld(guard_schema.EPOCH))
        raise
    finally:
        await roll_back(connection)
    return judged(attempt, traces)


def judged(attempt: Attempt, traces: Traces) -> Outcome:
    """What the traces tell together; where they do not agree, nobody guesses."""
    version, operation = traces.version, traces.operation
    whole = version.rows <= 1 and not version.dirty
    if operation is None:
        ended = attempt.transaction is None or traces.own == "aborted"
        if whole and ended and version.version == attempt.present:
            return NotCommitted()
    elif (
        whole
        and operation.plan == attempt.plan
        and (version.version, traces.done) == (attempt.destination, "committed")
    ):
        return operation.committed
    status = traces.done or traces.own
    return OutcomeUnclear(TracesDisagree(attempt.operation, operation is not None, version.told, status))


async def _traces(connection: Connection, versions: TableName, attempt: Attempt) -> Traces:
    operation = await guard_schema.find(connection, attempt.operation)
    return Traces(
        version=await looking.golang_version(connection, versions),
        operation=operation,
        own=await _status(connection, attempt.transaction),
        done=await _status(connection, None if operation is None else operation.transaction),
    )


async def _status(connection: Connection, transaction: int | None) -> str:
    if transaction is None:
        return ""
    ((status,),) = await (await connection.execute(_STATUS, (str(transaction),))).fetchall()
    return status or ""


async def _end(connection: Connection, backend: Backend, clock: Clock) -> StillOpen | OutcomeUnclear | None:
    """End the backend, and wait until it is gone; None: it is."""
    latest = clock.monotonic() + END_WITHIN
    while True:
        seen = await (await connection.execute(_SEEN, (backend.pid,))).fetchone()
        if seen is None or (seen[0] is not None and seen[0] != backend.started):
            return None
        if seen[0] is None:
            return OutcomeUnclear(BackendUnseen(backend.pid))
        if clock.monotonic() > latest:
            return StillOpen(BackendRemains(backend.pid, END_WITHIN))
        try:
            await connection.execute(_END, (backend.pid, backend.started))
        except psycopg.Error as error:
            if connection.closed:
                raise
            return OutcomeUnclear(DatabaseSaid(error.sqlstate or "", words_of(error)))
        await clock.sleep_until(clock.monotonic() + _POLL)
