"""What stays borrowed beyond its run is given back as soon as that can be done, once, and people are told."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from logcaster_guard.domain.errors import Rejected, Unavailable
from logcaster_guard.domain.events import (
    HoldDeferred,
    HoldReleased,
    HoldSettled,
    NoticeQueued,
    RunClosed,
    RunEnding,
    RunOpened,
    StepDone,
    StepIntended,
    StepStarted,
)
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.runs import RECOVERED
from logcaster_guard.engine.compaction import compaction, state_of
from logcaster_guard.engine.deferred_compensations import DeferredCompensations
from logcaster_guard.engine.journal_state import JournalState, run_stream
from logcaster_guard.ports import Kind
from logcaster_guard.steps.restore_later import SHARED
from logcaster_guard.stores import CODEC
from tests.fakes.clock import START
from tests.fakes.journal import MemoryJournal
from tests.steps.standby import EDITED, GREEN, NAME, SAVED, Standby, standby


@dataclass
class After:
    """A run that is over, with a copy and a promise that outlive it."""

    world: Standby
    journal: MemoryJournal
    state: JournalState
    keeper: DeferredCompensations

    @property
    def settled(self) -> list[tuple[str, bool]]:
        events = [e.event for e in self.journal.entries]
        return [(e.hold.partition("/")[0], e.theirs) for e in events if isinstance(e, HoldSettled)]

    @property
    def told(self) -> list[str]:
        events = [e.event for e in self.journal.entries]
        return [e.notice.id.partition("/")[2] for e in events if isinstance(e, NoticeQueued)]


@pytest.fixture
async def after() -> After:
    world, journal = await standby(), MemoryJournal()
    state = JournalState(journal, world.clock)
    for _ in world.run.opened.plan.steps:
        await world.done()
    run, stream = world.run, run_stream("r")
    owed = list(run.taken.values())
    kept = [h for h in owed if h.kind in {SHARED, "config_copy"}]
    await state.tell(stream, run.opened)
    for index, hold in enumerate(owed):
        intended = StepIntended(START, "r", index, 1, hold)
        await state.tell(stream, StepStarted(START, "r", index), intended, StepDone(START, "r", index))
    await state.tell(
        stream,
        RunEnding(START, "r", RECOVERED, "", freeze=False),
        *(HoldDeferred(START, "r", hold, "") for hold in kept),
        *(HoldReleased(START, "r", hold.id, "") for hold in owed),
        RunClosed(START, "r", RECOVERED, "", freeze=False),
    )
    keeper = DeferredCompensations(state=state, handlers=world.handlers, clock=world.clock, interval=30.0)
    return After(world, journal, state, keeper)


def empty(after: After) -> None:
    """The environment that was left has no pods any more."""
    after.world.cluster.change(Kind.DEPLOYMENT, GREEN, lambda d: d["spec"].update(replicas=0))


async def test_nothing_happens_while_bad_pods_read_the_one_and_good_ones_the_other(after: After) -> None:
    written = len(after.world.cluster.writes)
    await after.keeper.look()
    assert (after.settled, after.told, len(after.world.cluster.writes)) == ([], [], written)
    assert {e.hold.kind for _, e in after.state.deferred()} == {SHARED, "config_copy"}


async def test_the_shared_object_comes_back_with_the_last_bad_pod_and_the_copy_goes_with_the_last_that_names_it(
    after: After,
) -> None:
    world, copy = after.world, after.world.copy
    empty(after)
    await after.keeper.look()
    assert (world.held, after.settled) == (SAVED, [])
    await after.keeper.look()
    assert after.settled == [(SHARED, False)]
    # A ReplicaSet that people can go back to names it as well.
    world.cluster.change(
        Kind.DEPLOYMENT,
        "blue",
        lambda d: d["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"].update(name=NAME),
    )
    await after.keeper.look()
    assert copy in world.cluster.names(Kind.CONFIG_MAP)
    for name in list(world.cluster.names(Kind.REPLICA_SET)):
        template = world.cluster.object(Kind.REPLICA_SET, name)["spec"]["template"]
        if copy in str(template):
            world.cluster.remove(Kind.REPLICA_SET, name)
    await after.keeper.look()
    await after.keeper.look()
    assert copy not in world.cluster.names(Kind.CONFIG_MAP)
    assert after.settled == [(SHARED, False), ("config_copy", False)]
    assert after.state.deferred() == []
    assert after.told == [f"{SHARED}/ConfigMap/{NAME}/settled", f"config_copy/{copy}/settled"]


async def test_what_somebody_has_set_meanwhile_is_theirs_and_told_once(after: After) -> None:
    after.world.cluster.change(Kind.CONFIG_MAP, NAME, lambda c: c["data"].update(LEVEL="theirs"))
    empty(after)
    await after.keeper.look()
    await after.keeper.look()
    assert after.settled == [(SHARED, True)]
    assert after.world.held == {"LEVEL": "theirs"}
    assert len(after.told) == 1


@pytest.mark.parametrize("error", [Unavailable("away"), Rejected("no", status=403)])
async def test_what_the_api_server_refuses_is_tried_again(after: After, error: Unavailable | Rejected) -> None:
    empty(after)
    after.world.cluster.fault = lambda verb, *_: error if verb == "patch" else None
    await after.keeper.look()
    assert (after.world.held, after.settled) == (EDITED, [])
    after.world.cluster.fault = lambda *_: None
    await after.keeper.look()
    await after.keeper.look()
    assert (after.world.held, after.settled) == (SAVED, [(SHARED, False)])


async def test_a_run_that_is_open_comes_first(after: After) -> None:
    opened = after.world.run.opened
    again = RunOpened(START, "r2", opened.target, "rule", "", opened.plan)
    await after.state.tell(run_stream("r2"), again)
    empty(after)
    await after.keeper.look()
    assert after.world.held == EDITED


async def test_it_outlives_the_guard_the_compaction_and_what_else_is_forgotten(after: After) -> None:
    entries = after.journal.entries
    events = [e.event for e in entries]
    assert [CODEC.decode(CODEC.encode(event)) for event in events] == events
    late = after.world.clock.now().replace(year=2036)
    found = compaction(entries, owed=(), before=late)
    kept = state_of(e for e in entries if (e.stream, e.seq) not in found.superfluous)
    assert set(kept.deferred) == {("r", e.hold.id) for _, e in after.state.deferred()}
    # What it is put back from stays in the store.
    blobs = {digest for step in after.world.run.opened.plan.steps for digest in step.blobs}
    assert blobs
    assert blobs <= after.state.releases_to_keep(LedgerPolicy())
