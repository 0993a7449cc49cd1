"""A database that lives as long as the test, of which a script changes what it is told to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from logcaster_guard.domain.database.migrating import (
    Attempt,
    Backend,
    Committed,
    CommitUnknown,
    Migrated,
    MigrationOrder,
    NotCommitted,
    Outcome,
    OutcomeUnclear,
    RolledBack,
)
from logcaster_guard.domain.database.server import (
    DatabaseState,
    MigrationTool,
    SchemaVersion,
    TableName,
    hindrances,
)
from logcaster_guard.domain.database.server_reasons import (
    InvariantBroken,
    OfOldLeader,
    OperationOfAnotherPlan,
    ScriptFailed,
    VersionMoved,
)
from logcaster_guard.domain.errors import DatabaseRefused, DatabaseUnavailable

VERSIONS = TableName("public", "schema_migrations")
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def state_at(version: int | None, *, tool: MigrationTool = MigrationTool.GOLANG_MIGRATE) -> DatabaseState:
    """A PostgreSQL 15 at that version, with nothing in the way."""
    told = "" if version is None else str(version)
    seen = SchemaVersion(tool, VERSIONS, 0 if version is None else 1, version, told)
    return DatabaseState(
        server_version=150_018,
        database="logcaster",
        owner="logcaster",
        role="logcaster",
        superuser=False,
        may_create=True,
        search_path=("public",),
        pooler=False,
        standby=False,
        read_only=False,
        size=8 << 20,
        schema_version=seen,
    )


@dataclass
class MemoryDatabase:
    """Implements `ports.Database`.

    `counts` answers queries; `effects` says what a file adds to which of them, `failures` with which words it fails.
    `reply_lost` loses the answer to the next COMMIT, which is done all the same; with `commit_lost` it is not done.
    While `fault` is set every call raises `DatabaseUnavailable`.
    """

    state: DatabaseState
    counts: dict[str, int] = field(default_factory=dict)
    effects: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None
    reply_lost: bool = False
    commit_lost: bool = False
    epoch: int = 0
    operations: dict[str, tuple[str, Committed]] = field(default_factory=dict)
    run_files: list[str] = field(default_factory=list)
    sessions: int = 0

    async def look(self) -> DatabaseState:
        self.check()
        return self.state

    async def count(self, queries: Sequence[str]) -> tuple[int, ...]:
        self.check()
        if missing := [query for query in queries if query not in self.counts]:
            raise DatabaseRefused(f"no such query: {missing[0]}", sqlstate="42P01")
        return tuple(self.counts[query] for query in queries)

    async def begin(self) -> MemorySession:
        self.check()
        self.sessions += 1
        return MemorySession(self, Backend(self.sessions, STARTED))

    async def outcome(self, attempt: Attempt, epoch: int) -> Outcome:
        self.check()
        if epoch < self.epoch:
            return OutcomeUnclear(OfOldLeader(epoch, self.epoch))
        self.epoch = epoch
        seen = self.state.schema_version
        version = None if seen is None else seen.version
        done = self.operations.get(attempt.operation)
        if version != (attempt.present if done is None else attempt.destination):
            return OutcomeUnclear("the version and the operation do not agree")
        return NotCommitted() if done is None else done[1]

    async def aclose(self) -> None:
        self.fault = "the database is closed"

    def check(self) -> None:
        if self.fault is not None:
            raise DatabaseUnavailable(self.fault)


@dataclass
class MemorySession:
    """Implements `ports.MigrationSession`."""

    _database: MemoryDatabase
    backend: Backend

    async def run(self, order: MigrationOrder, begun: Callable[[int], Awaitable[None]]) -> Migrated:
        database = self._database
        database.check()
        if order.epoch < database.epoch:
            return RolledBack(OfOldLeader(order.epoch, database.epoch))
        database.epoch = order.epoch
        if (done := database.operations.get(order.operation)) is not None:
            return replace(done[1], repeated=True) if done[0] == order.plan else RolledBack(
                OperationOfAnotherPlan(order.operation)
            )  # fmt: skip
        if found := hindrances(database.state):
            return RolledBack(found[0])
        seen = database.state.schema_version
        assert seen is not None
        if seen.version != order.present:
            return RolledBack(VersionMoved(f"{seen.table.schema}.{seen.table.name}", seen.told, str(order.present)))
        await begun(700 + self.backend.pid)
        return self._carried_out(order, seen)

    async def aclose(self) -> None:
        return

    def _carried_out(self, order: MigrationOrder, seen: SchemaVersion) -> Migrated:
        database = self._database
        counts = dict(database.counts)
        for script in order.scripts:
            if (words := database.failures.get(script.name)) is not None:
                return RolledBack(ScriptFailed(script.name, 1, "42601", words))
            for query, change in database.effects.get(script.name, {}).items():
                counts[query] += change
        before = tuple(database.counts[i.query] for i in order.invariants)
        after = tuple(counts[i.query] for i in order.invariants)
        for i, was, now in zip(order.invariants, before, after, strict=True):
            if not i.holds(was, now):
                return RolledBack(InvariantBroken(i.query, was, now, i.may_lose, i.may_gain))
        if database.commit_lost:
            database.commit_lost = False
            return CommitUnknown("COMMIT was not sent")
        database.counts.update(counts)
        database.run_files += [script.name for script in order.scripts]
        version = order.destination
        at = replace(seen, version=version, told="" if version is None else str(version), rows=int(version is not None))
        database.state = replace(database.state, schema_version=at)
        database.operations[order.operation] = (order.plan, Committed(before, after, repeated=True))
        if database.reply_lost:
            database.reply_lost = False
            return CommitUnknown("the answer to COMMIT was lost")
        return Committed(before, after)
