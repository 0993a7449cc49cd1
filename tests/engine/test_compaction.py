"""Compaction: whatever the history, what stays of it tells the same; what grows without end goes, and is told of."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.events import (
    AnswerDenied,
    ConfigurationSeen,
    Event,
    HoldReleased,
    NoticeQueued,
    NoticeSettled,
    PeopleReminded,
    PodsReplaced,
    RevisionBad,
    RevisionConfigured,
    RevisionGood,
    RevisionLive,
    RevisionMarked,
    RevisionNumbered,
    RunAnswered,
    RunClosed,
    RunEnding,
    RunOpened,
    SignalSeen,
    StepDone,
    StepIntended,
    StepStarted,
    TargetFrozen,
    TargetThawed,
    TriggerCleared,
    TriggerFired,
    TriggerPending,
)
from logcaster_guard.domain.inbox.commands import Mark, RunCommand
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.state import DENIALS
from logcaster_guard.domain.steps import Compensation, Plan
from logcaster_guard.engine.compaction import FULL, PRESSED, Compaction, Compactor, compaction, state_of
from logcaster_guard.engine.hub import Hub, JournalAppended
from logcaster_guard.engine.journal_state import JournalState, run_stream, target_stream
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.ports import Entry, Journal
from logcaster_guard.steps.restore_template import RestoreTemplate
from tests.engine.bench import FIRES, KEY, PROD, Inbox, bench
from tests.fakes.clock import START, FakeClock, settle
from tests.fakes.journal import MemoryJournal

TARGETS = ("default/a", "default/b")
RULES = ("errors", "latency")
RELEASES = ("v1", "v2", "v3")
CHANNELS = ("slack", "hook")
DAY = timedelta(days=1)
HOLDS = {name: Compensation(name, "replicas", f"Deployment/{name}", "u", 4, 2) for name in ("h1", "h2")}
STEP = RestoreTemplate("blob")


def live(release: str, at: datetime) -> RevisionLive:
    return RevisionLive(at, release, release, "u", f"blob {release}", (release,), earliest=at)


def notice(name: str, at: datetime) -> Notice:
    return Notice(name, at, "trigger.refused", Severity.WARNING, "title", "text")


@dataclass
class History:
    """Makes a journal's entries, each event where it may come, `gap` after the one before."""

    draw: st.DrawFn
    now: datetime = START
    entries: list[Entry] = field(default_factory=list)
    seqs: Counter[str] = field(default_factory=Counter)
    steps: dict[str, int] = field(default_factory=dict)
    borrowed: dict[str, set[str]] = field(default_factory=dict)
    present: dict[str, str] = field(default_factory=dict)

    def put(self, stream: str, *events: Event) -> None:
        for event in events:
            self.seqs[stream] += 1
            self.entries.append(Entry(stream, self.seqs[stream], len(self.entries) + 1, event))

    def one(self) -> None:
        self.now += self.draw(st.sampled_from([timedelta(seconds=30), timedelta(hours=5), 2 * DAY]))
        target = self.draw(st.sampled_from(TARGETS))
        about = [self.of_target, self.of_run, self.of_notice]
        self.draw(st.sampled_from(about))(target)

    def of_target(self, target: str) -> None:
        at, rule, release = self.now, self.draw(st.sampled_from(RULES)), self.draw(st.sampled_from(RELEASES))
        digest = f"digest {len(self.entries)}"
        events: list[Event] = [
            TriggerPending(at, rule, at),
            TriggerFired(at, rule, at),
            TriggerCleared(at, rule, "quiet"),
            TargetFrozen(at, "annotation", "why"),
            TargetThawed(at, "annotation", "why"),
            live(release, at),
            RevisionGood(at, release, 1.0, 600.0),
            RevisionBad(at, release, "why"),
            RevisionMarked(at, release, self.draw(st.sampled_from(Mark)), digest, "words"),
            SignalSeen(at, "error_rate"),
            ConfigurationSeen(at, f"blob {len(self.entries)}", ("manifest",)),
            AnswerDenied(at, "guard.logcaster.io/veto", digest, "no run is open"),
        ]
        if target in self.present:
            now = self.present[target]
            events += [RevisionNumbered(at, now, "7"), PodsReplaced(at, now, ("checksum",), f"blob {now} again")]
            events.append(RevisionConfigured(at, now, "again", {"ConfigMap default/c": "contents"}, configuration="c"))
        event = self.draw(st.sampled_from(events))
        self.put(target_stream(target), event)
        if isinstance(event, RevisionLive):
            self.present[target] = event.template

    def of_run(self, target: str) -> None:
        at, run = self.now, next((r for r in self.steps if r.startswith(target)), None)
        if run is None:
            run = f"{target} {len(self.entries)}"
            handed = tuple(h for h in HOLDS.values() if self.draw(st.booleans()))
            plan = Plan("immediate", "default", "d", "u", "v2", "v1", (), (), 1, False, None, None, (STEP, STEP))
            self.steps[run], self.borrowed[run] = 0, {h.id for h in handed}
            opened = RunOpened(at, run, target, "errors", "why", plan, holds=handed)
            request = self.draw(st.sampled_from(["", f"digest {len(self.entries)}"]))
            opened = replace(opened, attributed=self.draw(st.booleans()), request=request)
            self.put(run_stream(run), opened)
            return
        step, owed = self.steps[run], self.draw(st.sampled_from([None, *HOLDS.values()]))
        events: list[Event] = [
            StepStarted(at, run, step),
            StepIntended(at, run, step, 1, owed),
            StepDone(at, run, step),
            PeopleReminded(at, run, len(self.entries)),
            RunAnswered(at, run, self.draw(st.sampled_from(RunCommand)), f"digest {len(self.entries)}", until=at + DAY),
            HoldReleased(at, run, self.draw(st.sampled_from(sorted(HOLDS)))),
            RunEnding(at, run, "failed", "why", freeze=True),
            RunClosed(at, run, "failed", "why", freeze=self.draw(st.booleans())),
        ]
        event = self.draw(st.sampled_from(events))
        self.put(run_stream(run), event)
        if isinstance(event, StepDone):
            self.steps[run] = min(step + 1, 1)
        if isinstance(event, RunClosed):
            del self.steps[run]

    def of_notice(self, target: str) -> None:
        stream, name = target_stream(target), f"notice {len(self.entries)}"
        self.put(stream, NoticeQueued(self.now, notice(name, self.now)))
        for channel in CHANNELS:
            outcome = self.draw(st.sampled_from(["delivered", "left out: too many", ""]))
            if outcome:
                self.put(stream, NoticeSettled(self.now, name, channel, outcome))


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    history = History(draw)
    for _ in range(draw(st.integers(0, 60))):
        history.one()
    return history.entries


async def told(entries: list[Entry], now: datetime) -> tuple[object, ...]:
    """All that a guard which is started over this journal knows, by its own ways to ask."""
    journal, clock = MemoryJournal(), FakeClock()
    journal._entries = list(entries)
    clock.jump_wall((now - clock.now()).total_seconds())
    state = JournalState(journal, clock)
    await state.load()
    outbox = Outbox(journal, [Inbox()], clock)
    outbox._load(entries)
    digests = [f"digest {n}" for n in range(70)]
    keys = [(target, rule) for target in TARGETS for rule in RULES]
    return (
        [state.ledger(t) for t in TARGETS],
        [state.heard(t) for t in TARGETS],
        [state.last_closed(t) for t in TARGETS],
        state.runs(),
        state.open_runs(),
        state.past_runs(),
        [state.last_trigger(*key) for key in keys],
        [state.trigger_to_resume(*key) for key in keys],
        [state.knows_answer(digest) for digest in digests],
        state.suspended(),
        [state.configuration(t) for t in TARGETS],
        state.releases_to_keep(LedgerPolicy()),
        outbox.owed(),
        outbox._queues[0].left_out,
        {e.stream: e.seq for e in entries},
    )


@given(histories(), st.sampled_from([timedelta(0), 2 * DAY, 20 * DAY]))
def test_what_stays_of_any_history_tells_the_same_as_the_whole(entries: list[Entry], age: timedelta) -> None:
    now = entries[-1].event.at if entries else START
    found = compaction(entries, owed=(), before=now - age)
    kept = [e for e in entries if (e.stream, e.seq) not in found.superfluous]
    later = now + 2 * DAY
    assert asyncio.run(told(kept, later)) == asyncio.run(told(entries, later))
    assert all(e.event.at < now - age or isinstance(e.event, NoticeSettled) for e in entries if e not in kept)
    # What was looked for once is not found a second time.
    assert not compaction(kept, owed=(), before=now - age).superfluous


def placed(*events: Event, stream: str = target_stream(TARGETS[0])) -> list[Entry]:
    return [Entry(stream, n, n, event) for n, event in enumerate(events, start=1)]


def test_of_a_closed_run_the_plan_the_steps_and_the_end_stay() -> None:
    plan = Plan("immediate", "default", "d", "u", "v2", "v1", (), (), 1, False, None, None, (STEP,))
    tries = [e for n in range(50) for e in (StepIntended(START, "r", 0, n + 1), PeopleReminded(START, "r", n))]
    end = (StepDone(START, "r", 0), RunEnding(START, "r", "failed", "why", freeze=True))
    closed = RunClosed(START, "r", "failed", "why", freeze=True)
    told_people = NoticeQueued(START, notice("n", START)), NoticeSettled(START, "n", "slack", "delivered")
    opened = RunOpened(START, "r", TARGETS[0], "errors", "why", plan)
    history = placed(opened, StepStarted(START, "r", 0), *tries, *told_people, *end, closed, stream="run/r")
    found = compaction(history, owed=(), before=START + DAY)
    stays = [type(e.event) for e in history if (e.stream, e.seq) not in found.superfluous]
    assert Counter(stays) == Counter(
        [
            RunOpened,
            StepStarted,
            StepIntended,
            StepIntended,
            PeopleReminded,
            NoticeSettled,
            StepDone,
            RunEnding,
            RunClosed,
        ]
    )
    assert not compaction(history, owed=(), before=START).superfluous


def test_what_a_closed_run_has_taken_and_given_back_is_known_for_good() -> None:
    plan = Plan("gradual", "default", "d", "u", "v2", "v1", (), (), 1, False, None, None, (STEP, STEP))
    holds = HOLDS | {"h3": replace(HOLDS["h1"], id="h3")}
    taken = [StepIntended(START, "r", 0, n, owed) for owed in holds.values() for n in (1, 2)]
    back = [HoldReleased(START, "r", name) for name in reversed(holds)]
    end = RunEnding(START, "r", "failed", "why", freeze=True), RunClosed(START, "r", "failed", "why", freeze=True)
    opened = RunOpened(START, "r", TARGETS[0], "errors", "why", plan)
    history = placed(opened, StepStarted(START, "r", 0), *taken, end[0], *back, end[1], stream="run/r")
    found = compaction(history, owed=(), before=START + DAY)
    kept = state_of(e for e in history if (e.stream, e.seq) not in found.superfluous)
    assert found.superfluous
    assert kept.runs["r"].taken == holds


def test_a_notice_that_a_channel_is_owed_stays_and_so_does_one_of_a_breach_that_goes_on() -> None:
    of_breach = f"refused/{TARGETS[0]}/errors/{START:%Y%m%dT%H%M%S.%fZ}/frozen"
    queued = [NoticeQueued(START, notice(name, START)) for name in ("owed", of_breach, "over")]
    history = placed(*queued, TriggerFired(START, "errors", START), SignalSeen(START, "s"))
    assert compaction(history, owed={"owed"}, before=START + DAY).notices == {"over"}


def test_of_what_was_denied_the_newest_are_remembered() -> None:
    denials = [AnswerDenied(START, "guard.logcaster.io/veto", str(n), "no run") for n in range(DENIALS + 10)]
    history = placed(*denials)
    found = compaction(history, owed=(), before=START)
    assert found.superfluous == {(history[0].stream, seq) for seq in range(1, 11)}


def test_of_what_is_known_of_a_configuration_the_last_is_remembered() -> None:
    history = placed(*(ConfigurationSeen(START, str(n), ()) for n in range(3)), SignalSeen(START, "s"))
    assert {seq for _, seq in compaction(history, owed=(), before=START + DAY).superfluous} == {1, 2}
    assert not compaction(history, owed=(), before=START).superfluous


class Flapping:
    """A guard's journal, which rules fill that fire and clear all the time, and its compactor."""

    def __init__(self, journal: Journal) -> None:
        self.clock, self.inbox = FakeClock(), Inbox()
        self.journal = journal
        self.outbox = Outbox(journal, [self.inbox], self.clock)
        hub = Hub()
        hub.subscribe(JournalAppended, lambda m: self.outbox.wake(m.stream))
        self.state = JournalState(journal, self.clock, hub)
        self.compactor = Compactor(self.state, journal, self.outbox, self.clock, retention=30 * 86_400.0)

    async def flap(self, text: str = "") -> None:
        at = self.clock.now()
        for rule in range(5):
            name = f"refused/{rule}/{at.isoformat()}"
            breach = TriggerPending(at, str(rule), at), TriggerFired(at, str(rule), at, {"error_rate": text})
            queued = NoticeQueued(at, notice(name, at))
            await self.state.tell(target_stream(TARGETS[0]), *breach, queued, TriggerCleared(at, str(rule), "quiet"))

    async def a_day(self, times: int = 3, text: str = "") -> None:
        for _ in range(times):
            await self.flap(text)
            await settle()
            await self.clock.advance(86_400.0 / times)


@contextlib.asynccontextmanager
async def working(made: Flapping, *, compacting: bool) -> AsyncIterator[None]:
    await made.state.load()
    tasks = [asyncio.create_task(made.outbox.run())]
    tasks += [asyncio.create_task(made.compactor.run())] if compacting else []
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_journal_of_flapping_rules_stays_as_it_is_for_months() -> None:
    made, sizes = Flapping(MemoryJournal()), list[int]()
    async with working(made, compacting=False):
        for _ in range(60):
            await made.a_day()
            await made.compactor.compact(PRESSED)
            sizes.append(len(await made.journal.read_all()))
    assert sizes[-1] <= sizes[3] + 1
    assert len(made.state._state.notices) < 100


async def test_growth_is_told_long_before_the_journal_is_full_and_once() -> None:
    journal = MemoryJournal()
    made = Flapping(journal)
    async with working(made, compacting=True):
        await made.a_day(text="x" * 200)
        assert not [n for n in made.inbox.notices if n.event == "journal.growing"]
        journal.limit = int((await journal.size()).used / FULL)
        await made.a_day(text="x" * 200)
    [growing] = [n for n in made.inbox.notices if n.event == "journal.growing"]
    assert "MiB" in growing.facts["used"]


async def at_once(work: Callable[..., Compaction], *arguments: object, **named: object) -> Compaction:
    return work(*arguments, **named)


async def test_a_journal_that_has_reached_a_size_is_not_left_to_the_night(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logcaster_guard.engine.compaction.ROOM", 50_000)
    monkeypatch.setattr("logcaster_guard.engine.compaction._LOOK", 3_600.0)
    # A thread takes real time, in which the test's own clock goes on.
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    made, sizes = Flapping(MemoryJournal()), list[int]()
    async with working(made, compacting=True):
        for _ in range(10):
            await made.a_day(text="x" * 500)
            sizes.append((await made.journal.size()).used)
    assert max(sizes) < 2 * max(sizes[:4])


async def test_a_guard_over_a_compacted_journal_knows_what_it_knew_and_goes_on() -> None:
    async with bench() as made:
        await made.bad_v2()
        await made.pass_(FIRES + 600.0)
        before = made.guard.state.runs(), made.guard.state.ledger(KEY)
        assert before[0][0].closed is not None
        made.clock.jump_wall(40 * 86_400.0)
        assert made.journal is not None
        entries = len(made.journal.entries)
        await made.guard.compact_journal()
        assert len(made.journal.entries) < entries
        assert (made.guard.state.runs(), made.guard.state.ledger(KEY)) == before
        await made.restart()
        await made.pass_(60.0)
        assert (made.guard.state.runs(), made.guard.state.ledger(KEY)) == before
        made.cluster.roll(PROD, "v3")
        await made.pass_(FIRES + 600.0)
        assert [r.opened.plan.to_images for r in made.guard.state.runs()] == [("v1",), ("v1",)]
        assert made.cluster.image(PROD) == "v1"
