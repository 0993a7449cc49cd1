"""The outbox: at least once, in order per channel, nobody delayed by a dead channel or a lost race for the stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.domain.errors import JournalConflict
from logcaster_guard.domain.events import Event, NoticeQueued, NoticeSettled, StepDone
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, Severity, TryLater, Undeliverable
from logcaster_guard.engine.channel_queues import RetryPolicy
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.messages import FAILING, GIVEN_UP
from logcaster_guard.ports import Entry
from logcaster_guard.stores import CODEC
from tests.fakes.clock import FakeClock, settle
from tests.fakes.journal import MemoryJournal

STREAM = "run/1"


class FakeChannel:
    """Answers from a script (the last answer for ever) and remembers when it was asked what."""

    def __init__(self, name: str, clock: FakeClock, *answers: Delivery | Exception) -> None:
        self._name = name
        self._clock = clock
        self.answers = list(answers) or [Delivered()]
        self.asked: list[tuple[float, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def name(self) -> str:
        return self._name

    @property
    def ids(self) -> list[str]:
        return [id_ for _, id_ in self.asked]

    async def deliver(self, notice: Notice) -> Delivery:
        self.asked.append((self._clock.monotonic(), notice.id))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await self.gate.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        pass


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


def queued(clock: FakeClock, *ids: str, age: float = 0.0) -> list[Event]:
    at = clock.now() - timedelta(seconds=age)
    return [NoticeQueued(at, Notice(i, at, "run.opened", Severity.INFO, f"title {i}", "text", run="1")) for i in ids]


async def append(journal: MemoryJournal, events: Sequence[Event], stream: str = STREAM) -> None:
    await journal.append(stream, events, len(await journal.read(stream)))


async def settlements(journal: MemoryJournal) -> list[tuple[str, str, str]]:
    events = [e.event for e in await journal.read_all()]
    return [(e.notice, e.channel, e.outcome) for e in events if isinstance(e, NoticeSettled)]


def outbox(journal: MemoryJournal, clock: FakeClock, *channels: FakeChannel, **policy: Any) -> Outbox:
    return Outbox(journal, channels, clock, policy=RetryPolicy(**policy), jitter=lambda: 0.999_999)


@asynccontextmanager
async def running(box: Outbox, known: Sequence[Entry] | None = None) -> AsyncIterator[Outbox]:
    task = asyncio.create_task(box.run(known))
    await settle()
    try:
        yield box
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_queued_notice_reaches_every_channel_once_and_is_settled(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    one, two = FakeChannel("one", clock), FakeChannel("two", clock)
    async with running(outbox(journal, clock, one, two)) as box:
        await append(journal, queued(clock, "a", "b"))
        box.wake(STREAM)
        box.wake(STREAM)
        await settle()
        box.wake(STREAM)
        await settle()
    assert one.ids == two.ids == ["a", "b"]
    assert sorted(await settlements(journal)) == [(i, c, "delivered") for i in "ab" for c in ("one", "two")]


async def test_a_restart_delivers_what_is_owed_and_nothing_else(journal: MemoryJournal, clock: FakeClock) -> None:
    await append(journal, queued(clock, "a", "b"))
    await append(journal, queued(clock, "c"), "target/x")
    await append(journal, [NoticeSettled(clock.now(), "a", "one", "delivered")])
    one, two = FakeChannel("one", clock), FakeChannel("two", clock)
    async with running(outbox(journal, clock, one, two)):
        await settle()
    assert one.ids == ["b", "c"]
    assert two.ids == ["a", "b", "c"]


async def test_a_journal_that_was_just_read_is_not_read_again(journal: MemoryJournal, clock: FakeClock) -> None:
    channel = FakeChannel("one", clock)
    box = outbox(journal, clock, channel)
    await append(journal, queued(clock, "a"))
    known = await journal.read_all()
    await append(journal, queued(clock, "b"))
    box.wake(STREAM)
    journal.read_all = read_again  # type: ignore[method-assign]
    async with running(box, known):
        assert channel.ids == ["a", "b"]


async def read_again(prefix: str = "") -> Sequence[Entry]:
    raise AssertionError(f"all of {prefix!r} is read again")


async def test_a_delivery_cut_off_by_shutdown_is_made_again(journal: MemoryJournal, clock: FakeClock) -> None:
    await append(journal, queued(clock, "a"))
    channel = FakeChannel("one", clock)
    channel.gate.clear()
    async with running(outbox(journal, clock, channel)):
        pass
    assert await settlements(journal) == []
    channel.gate.set()
    async with running(outbox(journal, clock, channel)):
        pass
    assert channel.ids == ["a", "a"]
    assert len(await settlements(journal)) == 1


async def test_a_failing_channel_is_tried_again_with_growing_waits_and_keeps_the_order(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    start = clock.monotonic()
    later = [TryLater("503") for _ in range(4)]
    channel = FakeChannel("one", clock, *later, Delivered())
    await append(journal, queued(clock, "a", "b"))
    with structlog.testing.capture_logs() as logs:
        async with running(outbox(journal, clock, channel, first=1.0, longest=5.0)):
            await clock.advance(60)
    assert channel.ids == ["a"] * 5 + ["b"]
    assert [round(at - start) for at, _ in channel.asked] == [0, 1, 3, 7, 12, 12]
    assert [line["event"] for line in logs] == ["notice.retrying"] * 4 + ["notice.delivered"] * 2
    assert logs[0]["detail"] == "503"
    assert logs[0]["channel"] == "one"
    assert logs[0]["run"] == "1"


async def test_a_wait_that_the_channel_asks_for_is_kept_up_to_a_bound(journal: MemoryJournal, clock: FakeClock) -> None:
    start = clock.monotonic()
    channel = FakeChannel("one", clock, TryLater("429", 90.0), TryLater("429", 1e12), Delivered())
    await append(journal, queued(clock, "a"))
    async with running(outbox(journal, clock, channel, longest_asked=600.0)):
        await clock.advance(1_000)
    assert [round(at - start) for at, _ in channel.asked] == [0, 90, 690]


async def test_a_dead_channel_delays_no_other(journal: MemoryJournal, clock: FakeClock) -> None:
    dead, hung, well = FakeChannel("dead", clock, TryLater("x")), FakeChannel("hung", clock), FakeChannel("well", clock)
    hung.gate.clear()
    await append(journal, queued(clock, *"abc"))
    async with running(outbox(journal, clock, dead, hung, well)):
        await settle()
        assert well.ids == ["a", "b", "c"]


async def test_a_refused_notice_is_settled_and_told_once_on_the_other_channel(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    bad, well = FakeChannel("bad", clock, Undeliverable("HTTP 401")), FakeChannel("well", clock)
    await append(journal, queued(clock, "a", "b"))
    with structlog.testing.capture_logs() as logs:
        async with running(outbox(journal, clock, bad, well)):
            await clock.advance(10)
    complaint = f"a/{GIVEN_UP}/bad"
    assert bad.ids == ["a", "b"]
    assert well.ids == ["a", "b", complaint]
    outcomes = {(n, c): o for n, c, o in await settlements(journal)}
    assert outcomes[("a", "bad")] == "undeliverable: HTTP 401"
    assert outcomes[(complaint, "well")] == "delivered"
    assert (complaint, "bad") in outcomes
    assert [line["event"] for line in logs].count("notice.undeliverable") == 2


async def test_attempts_are_bounded_and_the_loss_is_told_elsewhere(journal: MemoryJournal, clock: FakeClock) -> None:
    dead, well = FakeChannel("dead", clock, TryLater("refused")), FakeChannel("well", clock)
    await append(journal, queued(clock, "a"))
    async with running(outbox(journal, clock, dead, well, max_attempts=3)):
        await clock.advance(60)
    assert dead.ids == ["a"] * 3
    assert ("a", "dead", "given up after 3 attempts: refused") in await settlements(journal)
    assert well.ids == ["a", f"a/{GIVEN_UP}/dead"]


async def test_a_channel_that_takes_nothing_is_reported_through_another_and_tried_again(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    dead, well = FakeChannel("dead", clock, TryLater("no answer")), FakeChannel("well", clock)
    await append(journal, queued(clock, "a", "b"))
    report = f"a/{FAILING}/dead"
    async with running(outbox(journal, clock, dead, well)) as box:
        await clock.advance(59)
        assert well.ids == ["a", "b"]
        await clock.advance(200)
        assert well.ids == ["a", "b", report]
        tried = len(dead.ids)
        await clock.advance(600)
        assert (well.ids, set(dead.ids)) == (["a", "b", report], {"a"})
        assert len(dead.ids) > tried
        dead.answers = [Delivered()]
        await clock.advance(400)
        assert dead.ids[-2:] == ["a", "b"]
        dead.answers = [TryLater("no answer")]
        await append(journal, queued(clock, "c"))
        box.wake(STREAM)
        await settle()
        await clock.advance(300)
    assert well.ids[-2:] == ["c", f"c/{FAILING}/dead"]


async def test_a_single_channel_has_nobody_to_be_reported_to(journal: MemoryJournal, clock: FakeClock) -> None:
    dead = FakeChannel("dead", clock, TryLater("no answer"))
    await append(journal, queued(clock, "a"))
    async with running(outbox(journal, clock, dead)):
        await clock.advance(600)
    assert [e.event.notice.id for e in await journal.read_all() if isinstance(e.event, NoticeQueued)] == ["a"]


async def test_when_every_channel_is_dead_the_complaints_end(journal: MemoryJournal, clock: FakeClock) -> None:
    dead = [FakeChannel(name, clock, TryLater("refused")) for name in ("one", "two")]
    await append(journal, queued(clock, "a"))
    async with running(outbox(journal, clock, *dead, max_attempts=2)):
        await clock.advance(600)
    assert len(await settlements(journal)) == 6
    assert {len(channel.asked) for channel in dead} == {4}


async def test_a_notice_too_old_is_given_up_and_the_wall_clock_cannot_age_it(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    dead = FakeChannel("dead", clock, TryLater("refused"))
    await append(journal, queued(clock, "a"))
    async with running(outbox(journal, clock, dead, max_age=1_000.0, max_attempts=10_000, longest=50.0)):
        clock.jump_wall(7_200)
        await clock.advance(900)
        assert await settlements(journal) == []
        await clock.advance(101)
    assert [(n, c) for n, c, _ in await settlements(journal)] == [("a", "dead")]


async def test_a_new_channel_does_not_owe_the_past(journal: MemoryJournal, clock: FakeClock) -> None:
    await append(journal, queued(clock, "ancient", age=90_000))
    await append(journal, queued(clock, "recent", age=60))
    for _ in range(2):
        new = FakeChannel("new", clock)
        async with running(outbox(journal, clock, new)):
            pass
    assert await settlements(journal) == [("recent", "new", "delivered")]


class RacingJournal(MemoryJournal):
    """Somebody else appends to the stream just before each of the outbox's first appends."""

    races = 3

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        if self.races and isinstance(events[0], NoticeSettled):
            self.races -= 1
            other = StepDone(events[0].at, "1", self.races)
            await super().append(stream, [other], len(await self.read(stream)))
        return await super().append(stream, events, expected_seq)


async def test_a_lost_race_for_the_stream_is_run_again_without_a_second_delivery(clock: FakeClock) -> None:
    journal = RacingJournal()
    await append(journal, queued(clock, "a"))
    channel = FakeChannel("one", clock)
    async with running(outbox(journal, clock, channel)):
        pass
    assert channel.ids == ["a"]
    assert await settlements(journal) == [("a", "one", "delivered")]
    assert sum(isinstance(e.event, StepDone) for e in await journal.read(STREAM)) == 3


async def test_a_run_and_the_outbox_write_to_one_stream_on_disk_at_the_same_time(
    tmp_path: Path, clock: FakeClock
) -> None:
    disk = await SqliteJournal.open(CODEC, tmp_path / "j.db")
    one, two = FakeChannel("one", clock), FakeChannel("two", clock)
    box = Outbox(disk, [one, two], clock)
    ids = [f"n{n}" for n in range(20)]
    async with running(box):
        for id_ in ids:
            for _ in range(50):
                with contextlib.suppress(JournalConflict):
                    await disk.append(STREAM, queued(clock, id_), len(await disk.read(STREAM)))
                    break
            box.wake(STREAM)
        assert await asyncio.wait_for(box.drain(clock.monotonic() + 1_000), 30) == 0
    events = [entry.event for entry in await disk.read(STREAM)]
    await disk.aclose()
    assert one.ids == two.ids == ids
    assert [e.notice.id for e in events if isinstance(e, NoticeQueued)] == ids
    for channel in ("one", "two"):
        assert [e.notice for e in events if isinstance(e, NoticeSettled) and e.channel == channel] == ids


async def test_an_unavailable_journal_delays_no_notice_and_repeats_none(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    channel = FakeChannel("one", clock)
    channel.gate.clear()
    await append(journal, queued(clock, "a", "b"))
    with structlog.testing.capture_logs() as logs:
        async with running(outbox(journal, clock, channel)):
            journal.fault = "the disk is full"
            channel.gate.set()
            await clock.advance(30)
            assert channel.ids == ["a", "b"]
            journal.fault = None
            await clock.advance(60)
    assert channel.ids == ["a", "b"]
    assert await settlements(journal) == [("a", "one", "delivered"), ("b", "one", "delivered")]
    assert [line["event"] for line in logs].count("outbox.journal_unavailable") == 1


async def test_a_journal_unreadable_at_the_start_is_read_when_it_is_back(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    await append(journal, queued(clock, "a"))
    journal.fault = "damaged"
    channel = FakeChannel("one", clock)
    async with running(outbox(journal, clock, channel)) as box:
        box.wake(STREAM)
        await clock.advance(30)
        journal.fault = None
        await clock.advance(60)
    assert channel.ids == ["a"]


async def test_a_defect_of_a_channel_ends_nothing(journal: MemoryJournal, clock: FakeClock) -> None:
    broken = FakeChannel("broken", clock, RuntimeError("defect"), Delivered())
    well = FakeChannel("well", clock)
    await append(journal, queued(clock, "a"))
    with structlog.testing.capture_logs() as logs:
        async with running(outbox(journal, clock, broken, well)):
            await clock.advance(10)
    assert broken.ids == ["a", "a"]
    assert well.ids == ["a"]
    failed = next(line for line in logs if line["event"] == "notice.channel_failed")
    assert failed["exc_info"] is True


async def test_drain_waits_for_what_can_be_done_and_not_for_a_channel_in_a_long_wait(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    slow, dead = FakeChannel("slow", clock), FakeChannel("dead", clock, TryLater("x", 600.0))
    slow.gate.clear()
    async with running(outbox(journal, clock, slow, dead)) as box:
        await append(journal, queued(clock, "a"))
        box.wake(STREAM)
        drained = asyncio.create_task(box.drain(clock.monotonic() + 20))
        await clock.advance(5)
        assert not drained.done()
        slow.gate.set()
        await settle()
        assert drained.done()
        assert await drained == 1
    assert ("a", "slow", "delivered") in await settlements(journal)


async def test_drain_ends_at_its_deadline(journal: MemoryJournal, clock: FakeClock) -> None:
    hung = FakeChannel("hung", clock)
    hung.gate.clear()
    await append(journal, queued(clock, "a", "b"))
    async with running(outbox(journal, clock, hung)) as box:
        drained = asyncio.create_task(box.drain(clock.monotonic() + 20))
        await clock.advance(21)
        assert drained.done()
        assert await drained == 2


async def test_channels_of_one_name_are_refused(journal: MemoryJournal, clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="names must differ: same, same"):
        outbox(journal, clock, FakeChannel("same", clock), FakeChannel("same", clock))


async def test_when_the_journal_conflicts_without_end_the_settlement_stays_owed(clock: FakeClock) -> None:
    class Hostile(MemoryJournal):
        async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
            if isinstance(events[0], NoticeSettled):
                raise JournalConflict("always")
            return await super().append(stream, events, expected_seq)

    journal = Hostile()
    await append(journal, queued(clock, "a", "b"))
    channel = FakeChannel("one", clock)
    async with running(outbox(journal, clock, channel)):
        await clock.advance(60)
    assert channel.ids == ["a", "b"]


@given(
    attempt=st.integers(1, 10_000),
    asked=st.none() | st.floats(0, allow_nan=False),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_positive_bounded_and_at_least_what_was_asked(
    attempt: int, asked: float | None, chance: float
) -> None:
    policy = RetryPolicy()
    wait = policy.wait(attempt, asked, chance)
    assert policy.first / 2 <= wait <= policy.longest_asked
    assert wait >= min(asked or 0.0, policy.longest_asked)
    assert asked is not None or wait <= policy.longest
