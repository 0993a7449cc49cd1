"""Whether an attempt committed is told by what it left, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from logcaster_guard.adapters.postgres import outcome as outcomes
from logcaster_guard.adapters.postgres.guard_schema import Operation
from logcaster_guard.adapters.postgres.outcome import Traces, judged
from logcaster_guard.domain.database.migrating import (
    Attempt,
    Backend,
    Committed,
    NotCommitted,
    OutcomeUnclear,
    RolledBack,
    Script,
    StillOpen,
)
from logcaster_guard.domain.database.server import MigrationTool, SchemaVersion, TableName
from logcaster_guard.messages.database_faults import (
    BackendRemains,
    BackendUnseen,
    DatabaseLost,
    EpochHeld,
    GuardSchemaMissing,
    TracesDisagree,
)
from tests.adapters.database_worlds import RealWorld, order_of
from tests.real.postgresql import RealDatabase

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
ATTEMPT = Attempt("op-1", "plan", 12, 9, Backend(7, STARTED), 700)
DONE = Committed((3,), (3,), repeated=True)
OPERATION = Operation("plan", 700, DONE)


def at(version: int | None, *, rows: int = 1, dirty: bool = False) -> SchemaVersion:
    told = "" if version is None else str(version)
    return SchemaVersion(MigrationTool.GOLANG_MIGRATE, TableName("public", "t"), rows, version, told, dirty)


@pytest.mark.parametrize(
    ("traces", "outcome"),
    [
        (Traces(at(9), OPERATION, "committed", "committed"), DONE),
        (Traces(at(9), replace(OPERATION, transaction=600), "aborted", "committed"), DONE),
        (Traces(at(12), None, "aborted", ""), NotCommitted()),
        (Traces(at(12), None, "committed", ""), TracesDisagree("op-1", False, "12", "committed")),
        (Traces(at(12), None, "in progress", ""), TracesDisagree("op-1", False, "12", "in progress")),
        (Traces(at(12), None, "", ""), TracesDisagree("op-1", False, "12", "")),
        (Traces(at(9), None, "aborted", ""), TracesDisagree("op-1", False, "9", "aborted")),
        (Traces(at(12), OPERATION, "committed", "committed"), TracesDisagree("op-1", True, "12", "committed")),
        (Traces(at(9), OPERATION, "", ""), TracesDisagree("op-1", True, "9", "")),
        (Traces(at(9), OPERATION, "aborted", "aborted"), TracesDisagree("op-1", True, "9", "aborted")),
        (
            Traces(at(9), replace(OPERATION, plan="another"), "committed", "committed"),
            TracesDisagree("op-1", True, "9", "committed"),
        ),
        (Traces(at(12, dirty=True), None, "aborted", ""), TracesDisagree("op-1", False, "12", "aborted")),
        (Traces(at(None, rows=0), None, "aborted", ""), TracesDisagree("op-1", False, "", "aborted")),
        (Traces(at(None, rows=2), OPERATION, "committed", "committed"), TracesDisagree("op-1", True, "", "committed")),
    ],
)
def test_traces_that_agree_tell_the_outcome_and_others_nothing(
    traces: Traces, outcome: Committed | NotCommitted | TracesDisagree
) -> None:
    expected = OutcomeUnclear(outcome) if isinstance(outcome, TracesDisagree) else outcome
    assert judged(ATTEMPT, traces) == expected


def test_no_transaction_and_the_old_version_is_not_committed() -> None:
    attempt = replace(ATTEMPT, transaction=None)
    assert judged(attempt, Traces(at(12), None, "", "")) == NotCommitted()


def test_before_the_first_migration_is_a_version_too() -> None:
    attempt = replace(ATTEMPT, destination=None)
    assert judged(attempt, Traces(at(None, rows=0), OPERATION, "committed", "committed")) == DONE
    unclear = judged(attempt, Traces(at(None, rows=2), OPERATION, "committed", "committed"))
    assert isinstance(unclear, OutcomeUnclear)


@pytest.fixture
def world(real_database: RealDatabase) -> RealWorld:
    return RealWorld(real_database)


@asynccontextmanager
async def attempted(world: RealWorld) -> AsyncIterator[Attempt]:
    """An attempt that has begun and whose session is still there."""
    session = await world.database.begin()
    yield Attempt("op-1", "plan", 12, 11, session.backend)
    await session.aclose()


def backends(world: RealWorld) -> set[object]:
    return {pid for (pid,) in world.raw.run("SELECT pid FROM pg_stat_activity")}


async def test_a_backend_that_only_has_the_number_is_left_alone(world: RealWorld) -> None:
    async with attempted(world) as attempt:
        other = replace(attempt.backend, started=attempt.backend.started + timedelta(microseconds=1))
        assert await world.database.outcome(replace(attempt, backend=other), 1) == NotCommitted()
        assert attempt.backend.pid in backends(world)
        assert await world.database.outcome(attempt, 1) == NotCommitted()
        assert attempt.backend.pid not in backends(world)


async def test_a_backend_that_does_not_end_is_waited_for_and_told(
    world: RealWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "END_WITHIN", 0.2)
    monkeypatch.setattr(outcomes, "_END", "SELECT %s::int, %s::timestamptz")
    async with attempted(world) as attempt:
        assert await world.database.outcome(attempt, 1) == StillOpen(BackendRemains(attempt.backend.pid, 0.2))


async def test_a_backend_that_the_role_may_not_see_is_told(world: RealWorld) -> None:
    async with attempted(world) as attempt:
        with world.raw.connect() as somebody:
            hidden = replace(attempt.backend, pid=somebody.info.backend_pid)
            unclear = await world.database.outcome(replace(attempt, backend=hidden), 1)
    assert unclear == OutcomeUnclear(BackendUnseen(hidden.pid))


async def test_while_another_session_holds_the_epoch_the_outcome_is_open(
    world: RealWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "EPOCH_WITHIN", 0.1)
    async with attempted(world) as attempt:
        pass
    with world.raw.connect() as somebody:
        somebody.execute("BEGIN; SELECT * FROM logcaster_guard.epoch FOR UPDATE")
        assert await world.database.outcome(attempt, 1) == StillOpen(EpochHeld("logcaster_guard.epoch"))


async def test_without_the_guard_s_schema_nobody_knows(world: RealWorld) -> None:
    async with attempted(world) as attempt:
        pass
    world.raw.run("DROP SCHEMA logcaster_guard CASCADE")
    assert await world.database.outcome(attempt, 1) == OutcomeUnclear(GuardSchemaMissing("logcaster_guard"))


async def test_a_version_that_somebody_moved_afterwards_is_no_proof(world: RealWorld) -> None:
    async with attempted(world) as attempt:
        pass
    world.raw.run("UPDATE schema_migrations SET version = 11")
    unclear = await world.database.outcome(attempt, 1)
    assert unclear == OutcomeUnclear(TracesDisagree("op-1", False, "11", ""))


async def test_a_server_that_is_restarted_in_the_middle_has_changed_nothing(world: RealWorld) -> None:
    raw = world.raw
    session = await world.database.begin()
    numbers: list[int] = []

    async def restart(number: int) -> None:
        numbers.append(number)
        raw.server.end()
        raw.server.begin()

    ended = await session.run(order_of([Script("12", "DELETE FROM logs", 11)]), restart)
    await session.aclose()
    assert isinstance(ended, RolledBack)
    assert isinstance(ended.reason, DatabaseLost)
    attempt = Attempt("op-1", "plan", 12, 11, session.backend, numbers[0])
    assert await world.database.outcome(attempt, 1) == NotCommitted()
