from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import fields

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.errors import JournalConflict, JournalOutOfReach, JournalUnavailable
from logcaster_guard.domain.events import (
    Event,
    NoticeQueued,
    NoticeSettled,
    RevisionBad,
    RevisionConfigured,
    RevisionGood,
    RevisionLive,
    RunClosed,
    RunOpened,
    SignalSeen,
    StepDone,
    StepStarted,
    TriggerFired,
    TriggerPending,
)
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.steps import Plan
from logcaster_guard.engine.event_lines import event_name
from logcaster_guard.engine.hub import Hub, JournalAppended, RunFound
from logcaster_guard.engine.journal_state import JournalState, run_stream, target_stream
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.ports import Entry
from logcaster_guard.steps.restore_template import RestoreTemplate
from tests.engine.bench import Inbox
from tests.fakes.clock import START as NOW
from tests.fakes.clock import FakeClock, settle
from tests.fakes.guarded import Guarded, past_run
from tests.fakes.journal import MemoryJournal, SlowJournal

KEY = "default/logcaster-prod"
TARGET, RUN = target_stream(KEY), run_stream("r")
PLAN = Plan("immediate", "default", "d", "u", "bad", "good", (), (), 1, False, None, None, (RestoreTemplate("needed"),))
OPENED = RunOpened(NOW, "r", KEY, "rule", "reason", PLAN)
CLOSED = RunClosed(NOW, "r", "failed", "why", freeze=True)


def live(name: str) -> RevisionLive:
    return RevisionLive(NOW, name, name, "u", f"blob {name}", (name,))


async def test_many_writers_of_one_process_lose_and_double_nothing() -> None:
    journal = SlowJournal()
    state = JournalState(journal, FakeClock())
    await asyncio.gather(*(state.tell(TARGET, SignalSeen(NOW, str(n))) for n in range(50)))
    assert len(journal.entries) == state.ledger(KEY).length == 50


class DistantJournal(MemoryJournal):
    """It gives no answer for the first `down` times that it is read."""

    def __init__(self, down: int) -> None:
        super().__init__()
        self.down = down

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        self.down -= 1
        if self.down >= 0:
            raise JournalOutOfReach("the API server does not answer")
        return await super().read_all(prefix)


async def test_a_journal_that_gives_no_answer_at_the_start_is_waited_for_and_not_given_up() -> None:
    journal = DistantJournal(down=3)
    await journal.append(run_stream("r1"), past_run(), 0)
    with capture_logs() as logs:
        scene = Guarded(journal)
        async with scene.running():
            before = scene.guard.state.loaded
            await scene.clock.advance(16.0)
            assert (before, scene.guard.state.loaded, scene.guard.state.available) == (False, True, True)
            assert [r.id for r in scene.guard.state.runs()] == ["r1"]
    assert sum(line["event"] == "journal.out_of_reach" for line in logs) == 3


async def test_what_another_process_appended_is_taken_in_once() -> None:
    journal = SlowJournal()
    mine, theirs = JournalState(journal, FakeClock()), JournalState(journal, FakeClock())
    for n in range(5):
        await theirs.tell(TARGET, SignalSeen(NOW, f"theirs {n}"))
        await mine.tell(TARGET, SignalSeen(NOW, f"mine {n}"))
    await theirs.tell(TARGET, SignalSeen(NOW, "last"))
    assert theirs.ledger(KEY).length == 11
    assert theirs.ledger(KEY).signals_seen >= {f"mine {n}" for n in range(5)}


class Mumbling(MemoryJournal):
    """Appends what it is given, and then says that it has not."""

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        await super().append(stream, events, expected_seq)
        raise JournalUnavailable("the answer was lost")


async def test_an_append_that_was_not_confirmed_is_settled_before_runs_are_counted() -> None:
    journal, found = Mumbling(), list[tuple[str, str]]()
    hub = Hub()
    state = JournalState(journal, FakeClock(), hub)
    hub.subscribe(RunFound, lambda m: found.append((m.stream, m.run)))
    with pytest.raises(JournalUnavailable):
        await state.decide(RUN, OPENED)
    assert state.open_run_on(KEY) is None
    async with state.counting():
        assert state.open_run_on(KEY) is not None
    await state.settle()
    assert found == [(RUN, "r")]


async def test_what_was_decided_of_a_run_falls_when_the_run_was_settled_to_have_gone_on() -> None:
    journal = MemoryJournal()
    state = JournalState(journal, FakeClock())
    assert await state.decide(RUN, OPENED)
    run = state.run("r")
    seen = Mumbling()
    seen._entries = journal._entries
    state._journal = seen
    with pytest.raises(JournalUnavailable):
        await state.decide(RUN, CLOSED, of=run)
    await state.settle()
    assert not await state.decide(RUN, CLOSED, of=run)
    assert [type(e.event) for e in journal.entries] == [RunOpened, RunClosed]


async def test_a_run_that_was_over_when_it_was_found_is_not_taken_up() -> None:
    journal, found = Mumbling(), list[str]()
    hub = Hub()
    state = JournalState(journal, FakeClock(), hub)
    hub.subscribe(RunFound, lambda m: found.append(m.run))
    with pytest.raises(JournalUnavailable):
        await state.decide(RUN, OPENED, CLOSED)
    await state.settle()
    assert found == []


async def test_a_decision_falls_when_the_stream_tells_more_now_but_not_for_a_delivered_notice() -> None:
    journal = MemoryJournal()
    mine, theirs = JournalState(journal, FakeClock()), JournalState(journal, FakeClock())
    assert await mine.decide(RUN, OPENED)
    await theirs.load()
    await theirs.tell(RUN, NoticeSettled(NOW, "n", "channel", "delivered"))
    assert await mine.decide(RUN, StepStarted(NOW, "r", 0))
    await theirs.tell(RUN, StepDone(NOW, "r", 0))
    assert not await mine.decide(RUN, StepDone(NOW, "r", 0))
    assert mine.run("r").step == 1


async def test_a_loaded_chronicle_knows_what_the_writing_one_knew() -> None:
    journal = MemoryJournal()
    written = JournalState(journal, FakeClock())
    await written.tell(TARGET, live("v1"), RevisionGood(NOW, "v1", 1.0, 600.0), live("v2"))
    await written.tell(TARGET, TriggerPending(NOW, "rule", NOW), TriggerFired(NOW, "rule", NOW))
    await written.tell(RUN, OPENED, StepStarted(NOW, "r", 0))
    read = JournalState(journal, FakeClock())
    await read.load()
    for state in (written, read):
        assert state.ledger(KEY) == written.ledger(KEY)
        assert state.open_runs() == written.open_runs() != {}
        assert state.open_run_on(KEY) == state.run("r")
        assert isinstance(state.last_trigger(KEY, "rule"), TriggerFired)
        assert state.last_closed(KEY) is None
    await read.tell(RUN, CLOSED)
    assert read.open_runs() == {}
    assert read.open_run_on(KEY) is None
    assert read.last_closed(KEY) == CLOSED
    assert [p.closed for p in read.past_runs()] == [NOW]
    assert read.ledger(KEY).freeze is not None


async def test_the_releases_that_a_rollback_may_need_are_kept() -> None:
    state = JournalState(MemoryJournal(), FakeClock())
    await state.tell(TARGET, live("old"), RevisionGood(NOW, "old", 1.0, 600.0))
    await state.tell(TARGET, live("good"), RevisionGood(NOW, "good", 1.0, 600.0))
    # Any number of releases that proved nothing must not push the good ones out.
    await state.tell(TARGET, *(live(f"unproven {n}") for n in range(20)))
    kept = state.releases_to_keep(LedgerPolicy(keep=1))
    assert kept == {"blob good", "blob unproven 19"}
    await state.tell(RUN, OPENED)
    assert "needed" in state.releases_to_keep(LedgerPolicy(keep=1))


async def test_what_a_kept_release_has_read_is_kept_with_it() -> None:
    state = JournalState(MemoryJournal(), FakeClock())
    for name in ("old", "good", "bad", "now"):
        held = {"ConfigMap default/c": f"contents {name}", "ConfigMap default/absent": ""}
        await state.tell(TARGET, live(name), RevisionConfigured(NOW, name, f"blob {name}", held, configuration="c"))
        if name != "now":
            await state.tell(TARGET, RevisionGood(NOW, name, 1.0, 600.0, configuration="c"))
    await state.tell(TARGET, RevisionBad(NOW, "bad", "why", configuration="c"))
    kept = state.releases_to_keep(LedgerPolicy(keep=1))
    names = ("good", "bad", "now")
    assert kept == {f"blob {name}" for name in names} | {f"contents {name}" for name in names}


async def test_a_journal_that_contradicts_itself_is_given_up() -> None:
    journal = MemoryJournal()
    await journal.append(TARGET, [live("v1")], 0)
    await journal.append(RUN, [StepDone(NOW, "r", 0)], 0)
    state = JournalState(journal, FakeClock())
    await state.load()
    assert not state.available
    with pytest.raises(JournalUnavailable):
        await state.tell(TARGET, live("v2"))


async def test_events_do_not_pile_up_in_memory() -> None:
    state = JournalState(MemoryJournal(), FakeClock())
    for _ in range(100):
        await state.tell(TARGET, TriggerPending(NOW, "rule", NOW), TriggerFired(NOW, "rule", NOW))
    inner = state._state
    held = [getattr(inner, f.name) for f in fields(inner)] + list(vars(state).values())
    held = [v for v in held if isinstance(v, dict | set | list)]
    assert max(map(len, held)) == 1


def test_facts_are_logged_by_name() -> None:
    assert event_name(CLOSED) == "run.closed"
    assert event_name(RevisionGood(NOW, "t", 1.0, 1.0)) == "revision.good"
    assert event_name(NoticeSettled(NOW, "n", "c", "o")) == "notice.settled"


class ReadJournal(MemoryJournal):
    """Counts the events that it was read for."""

    read_out = 0

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        found = await super().read(stream, after)
        self.read_out += len(found)
        return found


async def test_neither_appending_nor_delivering_reads_the_past_again() -> None:
    journal, clock, inbox = ReadJournal(), FakeClock(), Inbox()
    await journal.append(TARGET, [TriggerPending(NOW, "rule", NOW)] * 1_000, 0)
    outbox = Outbox(journal, [inbox], clock)
    hub = Hub()
    state = JournalState(journal, FakeClock(), hub)
    hub.subscribe(JournalAppended, lambda m: outbox.wake(m.stream))
    await state.load()
    delivering = asyncio.create_task(outbox.run())
    await settle()
    for n in range(10):
        notice = Notice(f"n{n}", clock.now(), "run.opened", Severity.INFO, "title", "text")
        await state.tell(TARGET, NoticeQueued(clock.now(), notice))
        await settle()
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    assert [notice.id for notice in inbox.notices] == [f"n{n}" for n in range(10)]
    assert journal.read_out < 60


class Contradicting(MemoryJournal):
    """Says that its streams go on, and has nothing more to read: as one whose index is damaged."""

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        raise JournalConflict(f"{len(events)} after {expected_seq}: the stream {stream} is at 7: read it again")


async def test_a_conflict_with_nothing_newer_is_told_as_damage_and_not_as_another_guard() -> None:
    state = JournalState(Contradicting(), FakeClock())
    with pytest.raises(JournalUnavailable, match="contradicts itself"):
        await state.tell(TARGET, SignalSeen(NOW, "a"))
    with pytest.raises(JournalUnavailable, match="contradicts itself"):
        await state.decide(TARGET, SignalSeen(NOW, "a"))
