"""Polls of many targets go together, and none of them waits for another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain

import pytest

from logcaster_guard.domain.events import TriggerFired
from logcaster_guard.domain.signals import Reading, Signal, SourceName, Target, Unit, Value
from logcaster_guard.engine.sampling import Sampler, read_now
from logcaster_guard.ports import Answer, Request
from tests.engine.bench import ANOTHER, ERRORS, HEALTH, PROD, bench
from tests.fakes.clock import FakeClock, settle
from tests.fakes.source import FakeSource

SIGNAL = Signal("error_rate", Unit.RATIO, SourceName.PROMETHEUS)
TARGETS = [Target(name, "default", name) for name in ("a", "b", "c")]
POLL = 30.0


class Batches(FakeSource):
    """Keeps which Deployments each read was of; `poison` is one that it cannot cope with, `slow` takes a while."""

    poison = slow = ""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(SourceName.PROMETHEUS, clock, past=False)
        self.batches: list[Sequence[Request]] = []
        self.opened = asyncio.Event()

    async def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        self.batches.append(requests)
        async for answer in super().read(requests):
            yield answer

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        if target.deployment == self.poison:
            raise ZeroDivisionError
        if target.deployment == self.slow:
            await self.opened.wait()
        return await super().of_target(target, signals)


def made() -> tuple[FakeClock, Batches, Sampler]:
    clock = FakeClock()
    source = Batches(clock)
    for target in TARGETS:
        source.set(target.deployment, SIGNAL.name, 0.1)
    return clock, source, Sampler({source.name: source}, clock, POLL)


def asked(sampler: Sampler, target: Target) -> asyncio.Task[Mapping[str, Reading]]:
    return asyncio.create_task(sampler.read(SourceName.PROMETHEUS, target, [SIGNAL], shared=True))


async def test_who_asks_at_the_same_moment_is_asked_for_at_once() -> None:
    clock, source, sampler = made()

    async def polled(target: Target, at: float) -> Reading:
        await sampler.until(at)
        return (await sampler.read(SourceName.PROMETHEUS, target, [SIGNAL], shared=True))[SIGNAL.name]

    polls = [asyncio.create_task(polled(t, 1_010.0 + n / 100)) for n, t in enumerate(TARGETS)]
    await settle()
    await clock.advance(20.0)
    assert [await poll for poll in polls] == [Value(1_010.0, 0.1)] * 3
    assert [[r.target for r in batch] for batch in source.batches] == [TARGETS]
    assert all(request.shared for request in source.batches[0])


async def test_one_who_stops_waiting_takes_nobody_with_him() -> None:
    clock, _, sampler = made()
    first, second = (asyncio.create_task(sampler.until(1_010.0)) for _ in range(2))
    await settle()
    first.cancel()
    await clock.advance(10.0)
    assert second.done()
    reads = [asked(sampler, target) for target in TARGETS[:2]]
    await asyncio.sleep(0)
    reads[0].cancel()
    assert await reads[1] == {SIGNAL.name: Value(1_010.0, 0.1)}
    # Even if nobody is left, the next one is answered.
    last = asked(sampler, TARGETS[0])
    await asyncio.sleep(0)
    last.cancel()
    assert await asked(sampler, TARGETS[2]) == {SIGNAL.name: Value(1_010.0, 0.1)}


async def test_a_target_that_is_slow_holds_up_none_of_its_batch() -> None:
    _, source, sampler = made()
    source.slow = "b"
    reads = [asked(sampler, target) for target in TARGETS]
    await settle()
    assert [read.done() for read in reads] == [True, False, True]
    # What is asked for meanwhile does not wait either.
    assert await asked(sampler, TARGETS[0])
    source.opened.set()
    assert await reads[1]


async def test_a_target_that_a_source_cannot_cope_with_takes_no_reading_from_the_others() -> None:
    _, source, sampler = made()
    source.poison = "b"
    reads = [asked(sampler, target) for target in TARGETS]
    await settle()
    with pytest.raises(ZeroDivisionError):
        await reads[1]
    assert [await reads[0], await reads[2]] == [{SIGNAL.name: Value(1_000.0, 0.1)}] * 2


async def test_a_source_that_leaves_a_request_unanswered_is_a_defect_and_not_waited_for() -> None:
    _, source, sampler = made()

    class Silent(FakeSource):
        async def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
            async for request, reading in super().read(requests):
                if request.target != TARGETS[0]:
                    yield request, reading

    sampler._sources = {source.name: Silent(source.name, source._clock, past=False)}
    reads = [asked(sampler, target) for target in TARGETS]
    await settle()
    assert reads[1].done()
    with pytest.raises(RuntimeError, match="unanswered"):
        await reads[0]


async def test_slots_are_the_same_for_all_whenever_they_began() -> None:
    clock, _, sampler = made()
    await clock.advance(100.0)
    assert sampler.slot_before(clock.monotonic()) == 1_090.0
    assert sampler.slot_after(1_090.0) == 1_120.0
    assert sampler.slot_after(1_119.0) == 1_120.0


async def test_all_targets_of_a_guard_are_polled_in_one_batch_each() -> None:
    names = [PROD, ANOTHER, "third"]
    async with bench(rules=[ERRORS], deployments=names) as bed:
        source = bed.prometheus = Batches(bed.clock)
        for name in names:
            source.set(name, SIGNAL.name, 0.0)
        await bed.start()
        await bed.pass_(10 * POLL)
        assert len(source.batches) == 11
        assert all(sorted(r.target.deployment for r in batch) == sorted(names) for batch in source.batches)


async def test_a_source_that_hangs_for_one_target_leaves_the_dated_evaluation_of_another_on_time() -> None:
    async with bench(rules=[ERRORS, HEALTH], deployments=[PROD, ANOTHER]) as bed:
        source = bed.prometheus = Batches(bed.clock)
        for name in (PROD, ANOTHER):
            source.set(name, SIGNAL.name, 0.0)
        await bed.bad_v2()
        source.slow = ANOTHER
        await bed.pass_(400.0)
        [fired] = bed.told(TriggerFired)
        assert (fired.at - fired.onset).total_seconds() == ERRORS.duration
        # The read at that instant is of its own, and shares nothing.
        assert [PROD] in [[r.target.deployment for r in b if not r.shared] for b in source.batches]
        # What hangs was asked for once, and does not pile up.
        polls = [[r.target.deployment for r in b if r.shared] for b in source.batches[-5:]]
        assert ANOTHER not in chain.from_iterable(polls)


async def test_a_reading_by_itself_is_never_shared() -> None:
    _, source, _ = made()
    assert await read_now(source, TARGETS[0], [SIGNAL]) == {SIGNAL.name: Value(1_000.0, 0.1)}
    assert [[r.shared for r in batch] for batch in source.batches] == [[False]]
