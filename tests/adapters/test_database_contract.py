"""What every database does, whatever it is made of."""

from __future__ import annotations

import pytest

from logcaster_guard.domain.database.migrating import (
    Attempt,
    Committed,
    Invariant,
    Migrated,
    NotCommitted,
    RolledBack,
)
from logcaster_guard.domain.database.server_reasons import (
    InvariantBroken,
    OfOldLeader,
    OperationOfAnotherPlan,
    ScriptFailed,
    VersionMoved,
)
from logcaster_guard.domain.errors import DatabaseRefused
from tests.adapters.database_worlds import COUNT, DatabaseWorld, FakeWorld, RealWorld


@pytest.fixture(params=["fake", "postgresql"])
def world(request: pytest.FixtureRequest) -> DatabaseWorld:
    """A database at version 12 with ten rows."""
    return FakeWorld() if request.param == "fake" else RealWorld(request.getfixturevalue("real_database"))


async def run(world: DatabaseWorld, *scripts: tuple[str, int, int], **changed: object) -> tuple[Migrated, Attempt]:
    """Run files (name, effect, version that it leaves): how it ended, and what the journal would hold."""
    order = world.order(*scripts, **changed)
    session = await world.database.begin()
    begun: list[int] = []

    async def note(transaction: int) -> None:
        begun.append(transaction)

    ended = await session.run(order, note)
    await session.aclose()
    transaction = begun[-1] if begun else None
    return ended, Attempt(
        order.operation, order.plan, order.present, order.destination, session.backend, transaction
    )  # fmt: skip


async def version(world: DatabaseWorld) -> int | None:
    seen = (await world.database.look()).schema_version
    assert seen is not None
    return seen.version


async def test_files_are_run_and_the_version_is_that_of_the_last(world: DatabaseWorld) -> None:
    ended, attempt = await run(world, ("12_c", -1, 11), ("11_b", -2, 10), invariants=[Invariant(COUNT, may_lose=3)])
    assert ended == Committed((10,), (7,))
    assert await version(world) == 10
    assert await world.database.count([COUNT, COUNT]) == (7, 7)
    outcome = await world.database.outcome(attempt, 1)
    assert outcome == Committed((10,), (7,), repeated=True)


async def test_a_failing_file_undoes_those_before_it(world: DatabaseWorld) -> None:
    world.fails("11_b")
    ended, attempt = await run(world, ("12_c", -1, 11), ("11_b", 0, 10))
    assert isinstance(ended, RolledBack)
    assert isinstance(ended.reason, ScriptFailed)
    assert (ended.reason.file, ended.reason.line) == ("11_b", 1)
    assert (await version(world), await world.database.count([COUNT])) == (12, (10,))
    assert await world.database.outcome(attempt, 1) == NotCommitted()


async def test_more_rows_are_lost_than_may_be(world: DatabaseWorld) -> None:
    ended, _ = await run(world, ("12_c", -3, 11), invariants=[Invariant(COUNT, may_lose=2)])
    assert ended == RolledBack(InvariantBroken(COUNT, 10, 7, 2, 0))
    assert (await version(world), await world.database.count([COUNT])) == (12, (10,))


async def test_an_operation_is_carried_out_once(world: DatabaseWorld) -> None:
    await run(world, ("12_c", -1, 11), invariants=[Invariant(COUNT, may_lose=1)])
    ended, _ = await run(world, ("12_c", -1, 11), invariants=[Invariant(COUNT, may_lose=1)])
    assert ended == Committed((10,), (9,), repeated=True)
    assert await world.database.count([COUNT]) == (9,)
    other, _ = await run(world, ("12_c", -1, 11), plan="another")
    assert other == RolledBack(OperationOfAnotherPlan("op-1"))


async def test_an_older_leader_is_kept_out_by_an_order_and_by_a_question(world: DatabaseWorld) -> None:
    ended, attempt = await run(world, ("12_c", -1, 11), epoch=4, present=13)
    assert isinstance(ended, RolledBack)
    assert isinstance(ended.reason, VersionMoved)
    assert await world.database.outcome(
        Attempt("op-1", "plan", 12, 11, attempt.backend, attempt.transaction), 7
    ) == NotCommitted()  # fmt: skip
    old, _ = await run(world, ("12_c", -1, 11), epoch=6)
    assert old == RolledBack(OfOldLeader(6, 7))
    assert await version(world) == 12


async def test_what_is_raised_before_the_first_file_ends_the_migration(world: DatabaseWorld) -> None:
    session = await world.database.begin()

    async def refuse(_: int) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await session.run(world.order(("12_c", -1, 11)), refuse)
    await session.aclose()
    assert (await version(world), await world.database.count([COUNT])) == (12, (10,))


async def test_a_query_that_cannot_be_answered_is_refused(world: DatabaseWorld) -> None:
    with pytest.raises(DatabaseRefused) as refused:
        await world.database.count([COUNT, "SELECT count(*) FROM missing"])
    assert refused.value.sqlstate == "42P01"
