"""Guards that take turns, over fakes: who acts, who stands by, and what happens to a run when that changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import structlog

from logcaster_guard.domain.errors import NoAuthority
from logcaster_guard.domain.events import RunClosed, RunOpened, StepIntended
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.leadership import Role, Terms
from logcaster_guard.engine.epoch_marker import EPOCH
from logcaster_guard.engine.journal_state import run_stream
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import KEY, PROD, PROVEN, Bench
from tests.fakes.clock import FakeClock, settle
from tests.fakes.lease import MemoryLease, Shelf

TERMS = Terms(duration=30.0, renew_every=5.0, timeout=10.0)


class Contender:
    """An elector that runs."""

    def __init__(self, clock: FakeClock, shelf: Shelf, name: str) -> None:
        self.clock = clock
        self.lease = MemoryLease(shelf)
        self.elector = LeaderElector(self.lease, clock, TERMS, name)
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.task = asyncio.create_task(self.elector.run())
        await settle()

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    def acts(self) -> bool:
        return not self.elector.term().over


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def pair(clock: FakeClock, shelf: Shelf) -> AsyncIterator[tuple[Contender, Contender]]:
    first, second = Contender(clock, shelf, "first"), Contender(clock, shelf, "second")
    await first.start()
    await clock.advance(TERMS.duration)
    await second.start()
    assert first.acts()
    assert not second.acts()
    yield first, second
    await first.stop()
    await second.stop()


async def test_a_lease_that_is_not_there_is_waited_for_and_then_made(clock: FakeClock, shelf: Shelf) -> None:
    only = Contender(clock, shelf, "only")
    await only.start()
    await clock.advance(TERMS.duration - 1)
    assert not only.acts()
    await clock.advance(1)
    assert only.acts()
    assert shelf.record is not None
    assert (shelf.record.holder, shelf.record.epoch) == ("only", 1)
    await only.stop()


async def test_it_is_renewed_for_as_long_as_the_holder_lives(
    pair: tuple[Contender, Contender], clock: FakeClock, shelf: Shelf
) -> None:
    before = shelf.writes
    await clock.advance(300)
    assert pair[0].acts()
    assert not pair[1].acts()
    assert shelf.writes - before == 60


async def test_a_holder_that_died_is_waited_for_and_then_replaced(
    pair: tuple[Contender, Contender], clock: FakeClock, shelf: Shelf
) -> None:
    first, second = pair
    await first.stop()
    await clock.advance(TERMS.duration - 5)
    assert not second.acts()
    await clock.advance(10)
    assert second.acts()
    assert shelf.record is not None
    assert (shelf.record.holder, shelf.record.epoch) == ("second", 2)


@pytest.mark.parametrize("how", ["away", "hanging", "unheard"])
async def test_a_holder_whose_renewals_fail_acts_no_longer_than_its_lease(
    pair: tuple[Contender, Contender], clock: FakeClock, how: str
) -> None:
    first, second = pair
    term = first.elector.term()
    setattr(first.lease, how, True)
    acted = 0.0
    for _ in range(200):
        await clock.advance(0.5)
        acted += 0.5 * first.acts()
        assert not (first.acts() and second.acts())
    assert acted <= TERMS.duration - TERMS.margin
    with pytest.raises(NoAuthority):
        term.check()
    assert second.acts() is (how != "unheard")


async def test_a_renewal_whose_answer_was_lost_is_found_to_have_been_taken(
    pair: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, _ = pair
    first.lease.unheard = True
    await clock.advance(6)
    first.lease.unheard = False
    await clock.advance(60)
    assert first.acts()
    assert first.elector.epoch == 1


async def test_a_holder_that_was_stopped_may_do_nothing_when_it_wakes(
    pair: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, _ = pair
    term = first.elector.term()
    clock.skip(27.0)
    assert first.elector.role is Role.LOST
    with pytest.raises(NoAuthority, match="runs out"):
        term.check()


async def test_nothing_is_begun_that_could_outlive_the_lease(
    pair: tuple[Contender, Contender], clock: FakeClock
) -> None:
    term = pair[0].elector.term()
    clock.skip(17.0)
    term.check()
    with pytest.raises(NoAuthority):
        term.check(TERMS.timeout)


async def test_a_jump_of_the_wall_clock_changes_nothing(pair: tuple[Contender, Contender], clock: FakeClock) -> None:
    for seconds in (86_400.0, -86_400.0, -3_600.0):
        clock.jump_wall(seconds)
        await clock.advance(60)
        assert (pair[0].acts(), pair[1].acts(), pair[0].elector.epoch) == (True, False, 1)


async def test_what_is_given_back_is_taken_at_once(pair: tuple[Contender, Contender], clock: FakeClock) -> None:
    first, second = pair
    await first.stop()
    await first.elector.release()
    assert not first.acts()
    await clock.advance(TERMS.renew_every)
    assert second.acts()


async def test_a_term_does_not_come_back_with_the_lease(clock: FakeClock, shelf: Shelf) -> None:
    only = Contender(clock, shelf, "only")
    await only.start()
    await clock.advance(31)
    term = only.elector.term()
    await only.elector.release()
    await clock.advance(31)
    assert only.acts()
    assert term.over
    assert only.elector.term().stamp != term.stamp
    await only.stop()


async def test_a_lease_that_somebody_deletes_ends_authority_and_is_not_taken_at_once(
    pair: tuple[Contender, Contender], clock: FakeClock, shelf: Shelf
) -> None:
    shelf.record = None
    await clock.advance(6)
    assert not pair[0].acts()
    await clock.advance(20)
    assert [c.acts() for c in pair] == [False, False]
    await clock.advance(10)
    assert pair[0].acts() != pair[1].acts()
    assert shelf.record is not None


async def test_failures_are_told_once(pair: tuple[Contender, Contender], clock: FakeClock) -> None:
    pair[0].lease.away = True
    with structlog.testing.capture_logs() as log:
        await clock.advance(25)
    assert [e["event"] for e in log] == ["authority.unclear"]


class Two:
    """Two guards over one cluster and one journal; the first holds the lease, and v1 is known to be good."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.first, self.second = Bench(), Bench()
        for part in ("clock", "cluster", "journal", "blobs", "prometheus", "http"):
            setattr(self.second, part, getattr(self.first, part))
        self.leases = [MemoryLease(self.shelf), MemoryLease(self.shelf)]
        for bench, lease, name in zip((self.first, self.second), self.leases, ("first", "second"), strict=True):
            bench.authority = LeaderElector(lease, self.first.clock, TERMS, name)

    async def start(self) -> None:
        await self.first.start()
        await self.first.pass_(TERMS.duration + 1)
        await self.second.start()
        await self.first.pass_(PROVEN)

    async def stop(self) -> None:
        await self.first.stop()
        await self.second.stop()

    async def in_mid_run(self) -> None:
        self.first.cluster.roll(PROD, "v2")
        await self.first.pass_(290.0)
        self.first.cluster.stuck = True
        await self.first.pass_(20.0)
        assert self.first.writes() == 1
        assert len(self.first.told(RunOpened)) == 1

    @property
    def acting(self) -> list[bool]:
        return [not b.guard.read_model.standby for b in (self.first, self.second)]


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    made = Two()
    await made.start()
    yield made
    await made.stop()


async def test_only_the_holder_acts_and_tells(two: Two) -> None:
    two.first.cluster.roll(PROD, "v2")
    await two.first.pass_(900.0)
    assert two.acting == [True, False]
    assert len(two.first.told(RunOpened)) == len(two.first.told(RunClosed)) == two.first.writes() == 1
    assert len(two.first.notices("run.closed")) == 1
    assert two.second.inbox.notices == []
    assert not two.second.guard.state.available


async def test_one_that_stands_by_reads_the_sources_and_is_ready(two: Two) -> None:
    watch = next(iter(two.second.guard.watches.values()))
    assert watch.counters.reads
    assert watch.watchdog.stuck() == {}


@pytest.mark.parametrize("how", ["told to stop", "cut off"])
async def test_a_run_is_handed_over_in_its_middle(two: Two, how: str) -> None:
    await two.in_mid_run()
    if how == "told to stop":
        await two.first.stop()
        await two.second.pass_(10.0)
    else:
        two.leases[0].away = True
        await two.second.pass_(50.0)
        assert two.acting == [False, True]
    assert two.shelf.record is not None
    assert (two.shelf.record.holder, two.shelf.record.epoch) == ("second", 2)
    two.second.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["status"].update(updatedReplicas=3))
    await two.second.pass_(900.0)
    assert [c.outcome for c in two.second.told(RunClosed)] == ["recovered"]
    assert len(two.second.told(StepIntended)) == 1
    marked = [operations for _, _, operations in two.second.cluster.writes if str(operations).count(EPOCH)]
    assert len(marked) == 1
    assert two.second.writes() == 2
    assert two.second.cluster.object(Kind.DEPLOYMENT, PROD)["metadata"]["annotations"][EPOCH] == "2/second"


async def test_one_that_lost_authority_stands_by_and_takes_over_again(two: Two) -> None:
    two.leases[0].away = True
    await two.first.pass_(60.0)
    assert two.acting == [False, True]
    two.leases[0].away = False
    two.leases[1].away = True
    await two.first.pass_(60.0)
    assert two.acting == [True, False]
    two.first.cluster.roll(PROD, "v2")
    await two.first.pass_(900.0)
    assert [c.outcome for c in two.first.told(RunClosed)] == ["recovered"]
    assert two.first.writes() == 1


async def test_with_the_api_server_gone_for_all_nobody_acts(two: Two) -> None:
    await two.in_mid_run()
    for lease in two.leases:
        lease.away = True
    await two.first.pass_(60.0)
    assert two.first.journal is not None
    entries = len(two.first.journal.entries)
    await two.first.pass_(600.0)
    assert two.acting == [False, False]
    assert two.first.writes() == 1
    assert len(two.first.journal.entries) == entries


async def test_what_is_on_its_way_when_the_lease_is_lost_is_let_go_of(two: Two) -> None:
    cluster, taken = two.first.cluster, asyncio.Event()
    through = cluster.json_patch

    async def hanging(
        kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        if not taken.is_set():
            taken.set()
            await asyncio.Event().wait()
        return await through(kind, namespace, name, operations, manager=manager)

    setattr(cluster, "json_patch", hanging)  # noqa: B010 - a method is replaced
    cluster.roll(PROD, "v2")
    await two.first.pass_(320.0)
    assert taken.is_set()
    two.leases[0].away = True
    await two.first.pass_(60.0)
    assert two.acting == [False, True]
    await two.first.pass_(900.0)
    assert [c.outcome for c in two.first.told(RunClosed)] == ["recovered"]
    assert cluster.image(PROD) == "v1"


async def test_a_holder_without_a_usable_journal_lets_another_try(two: Two) -> None:
    await two.first.stop()
    assert two.second.journal is not None
    two.second.journal.fault = "it is damaged"
    await two.second.pass_(6.0)
    assert two.acting[1] is False
    assert two.shelf.record is not None
    assert two.shelf.record.holder == ""
    two.second.journal.fault = None
    await two.second.pass_(TERMS.duration + 6.0)
    assert two.acting[1] is True


async def late(two: Two) -> str:
    """A run that was opened by a guard without authority; its name."""
    assert two.first.journal is not None
    opened = replace(two.first.told(RunOpened)[0], run="late", at=two.first.clock.now(), parent=None)
    await two.first.journal.append(run_stream("late"), [opened], 0)
    return "late"


async def test_a_run_whose_opening_arrived_late_is_closed_and_changes_nothing(two: Two) -> None:
    two.first.cluster.roll(PROD, "v2")
    await two.first.pass_(900.0)
    run = await late(two)
    two.first.cluster.roll(PROD, "v2")
    await two.first.pass_(61.0)
    (closed,) = [c for c in two.first.told(RunClosed) if c.run == run]
    assert (closed.outcome, closed.freeze) == ("abandoned", False)
    assert "no longer held the lease" in english().text(closed.reason)
    assert two.first.writes() == 1
    assert two.first.guard.state.ledger(KEY).freeze is None


async def test_a_new_holder_that_finds_two_open_runs_carries_on_the_one_that_has_begun(two: Two) -> None:
    await two.in_mid_run()
    run = await late(two)
    await two.first.stop()
    two.second.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["status"].update(updatedReplicas=3))
    await two.second.pass_(900.0)
    outcomes = {c.run: c.outcome for c in two.second.told(RunClosed)}
    assert outcomes.pop(run) == "abandoned"
    assert list(outcomes.values()) == ["recovered"]
    assert two.second.writes() == 2


async def test_who_does_not_know_which_releases_are_needed_forgets_none(two: Two) -> None:
    asked: list[float] = []

    async def counting(digests: object, *, older_than: float) -> int:
        del digests
        asked.append(older_than)
        return 0

    setattr(two.first.blobs, "keep_only", counting)  # noqa: B010 - a method is replaced
    await two.second.guard.forget_old_releases()
    assert asked == []
    await two.first.guard.forget_old_releases()
    assert len(asked) == 1
