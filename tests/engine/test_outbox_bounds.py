"""A channel that takes nothing for long: what is kept for it is bounded, and what was left out is summed up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import structlog

from logcaster_guard.domain.events import Event, NoticeQueued
from logcaster_guard.domain.notices import Delivered, Notice, Severity, TryLater
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.messages import FAILING, SUMMED_UP
from tests.engine.test_outbox import FakeChannel, append, clock, journal, outbox, running, settlements
from tests.fakes.clock import FakeClock, settle
from tests.fakes.journal import MemoryJournal

__all__ = ["clock", "journal"]
DEAD = TryLater("connection refused")


def told(clock: FakeClock, *notices: tuple[str, Severity]) -> list[Event]:
    at = clock.now()
    events = {Severity.INFO: "source.recovered", Severity.WARNING: "trigger.refused", Severity.CRITICAL: "run.opened"}
    return [NoticeQueued(at, Notice(id_, at, events[s], s, f"title {id_}", "text")) for id_, s in notices]


def many(first: int, count: int, severity: Severity = Severity.WARNING) -> Sequence[tuple[str, Severity]]:
    return [(f"n{first + i}", severity) for i in range(count)]


async def say(box: Outbox, journal: MemoryJournal, clock: FakeClock, *notices: tuple[str, Severity]) -> None:
    await append(journal, told(clock, *notices))
    box.wake("run/1")
    await settle()


async def left_out(journal: MemoryJournal, channel: str) -> list[str]:
    return [id_ for id_, name, outcome in await settlements(journal) if name == channel and "left out" in outcome]


async def sums(journal: MemoryJournal) -> list[str]:
    events = [e.event for e in await journal.read_all()]
    return [e.notice.text for e in events if isinstance(e, NoticeQueued) and e.notice.event == SUMMED_UP]


async def test_the_oldest_of_the_least_severe_are_left_out_and_summed_up(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    dead, well = FakeChannel("dead", clock, DEAD), FakeChannel("well", clock)
    with structlog.testing.capture_logs() as logs:
        async with running(outbox(journal, clock, dead, well, most=6, reported_after=1e9)) as box:
            await say(box, journal, clock, ("head", Severity.WARNING))
            await clock.advance(30)
            notices = [*many(0, 8), ("loud", Severity.CRITICAL), ("soft", Severity.INFO), *many(8, 4)]
            for notice in notices:
                await say(box, journal, clock, notice)
            assert (box.pending(), well.ids) == ({"dead": 6, "well": 0}, ["head", *(id_ for id_, _ in notices)])
            await clock.advance(60)
            gone = ["soft" if n == 8 else f"n{n}" for n in (*range(7), 8, 7)]
            assert sorted(await left_out(journal, "dead")) == sorted(gone)
            dead.answers = [Delivered()]
            await clock.advance(400)
            assert (box.pending()["dead"], await left_out(journal, "well")) == (0, [])
    kept = [id_ for id_, at in zip(dead.ids, range(len(dead.ids)), strict=True) if id_ not in dead.ids[:at]]
    assert kept[:-1] == ["head", "loud", "n8", "n9", "n10", "n11"]
    assert kept[-1].startswith(f"{SUMMED_UP}/dead/")
    assert kept[-1] not in well.ids
    [text] = await sums(journal)
    assert "9 were left out on dead: 1 source.recovered, 8 trigger.refused." in text
    assert [e["notice"] for e in logs if e["event"] == "notice.left_out"] == await left_out(journal, "dead")


async def test_what_was_left_out_before_a_restart_is_summed_up_with_it_and_only_once(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    dead = FakeChannel("one", clock, DEAD)
    async with running(outbox(journal, clock, dead, most=3)) as box:
        await say(box, journal, clock, *many(0, 8))
    assert len(await left_out(journal, "one")) == 5
    async with running(outbox(journal, clock, dead, most=3)) as box:
        await say(box, journal, clock, *many(8, 2))
        dead.answers = [Delivered()]
        await clock.advance(400)
        dead.answers = [DEAD]
        await say(box, journal, clock, *many(10, 4))
    async with running(outbox(journal, clock, FakeChannel("one", clock), most=3)):
        await clock.advance(10)
    first, second = await sums(journal)
    assert ("7 were left out" in first, "1 were left out" in second) == (True, True)


async def test_a_journal_full_of_what_is_owed_is_taken_up_within_the_bound(
    journal: MemoryJournal, clock: FakeClock
) -> None:
    await append(journal, told(clock, *many(0, 500)))
    async with running(outbox(journal, clock, FakeChannel("one", clock, DEAD), most=10)) as box:
        assert box.pending() == {"one": 10}


@pytest.mark.parametrize("others", [True, False])
async def test_a_delivery_without_end_is_cut_off_reported_elsewhere_and_made_again(
    journal: MemoryJournal, clock: FakeClock, others: bool
) -> None:
    hung, well = FakeChannel("hung", clock), FakeChannel("well", clock)
    hung.gate.clear()
    channels = [hung, well] if others else [hung]
    with structlog.testing.capture_logs() as logs:
        async with running(outbox(journal, clock, *channels)) as box:
            await say(box, journal, clock, *many(0, 2))
            await clock.advance(119)
            assert hung.ids == ["n0"]
            await clock.advance(3)
            assert hung.ids == ["n0", "n0"]
            hung.gate.set()
            await clock.advance(10)
    assert hung.ids == ["n0", "n0", "n1"]
    assert well.ids == (["n0", "n1", f"n0/{FAILING}/hung"] if others else [])
    [line] = [line for line in logs if line["event"] == "notice.retrying"]
    assert line["detail"] == "it has not ended after 120 s"


async def test_nothing_is_remembered_of_what_the_journal_has_settled(journal: MemoryJournal, clock: FakeClock) -> None:
    box = outbox(journal, clock, FakeChannel("one", clock), FakeChannel("two", clock))
    async with running(box):
        for n in range(40):
            await say(box, journal, clock, *many(5 * n, 5))
            await clock.advance(1)
        box.wake("run/1")
        await settle()
    assert all(len(queue.closed) + len(queue.settled) + len(queue.owed) <= 5 for queue in box._queues)
    assert len(await settlements(journal)) == 400
