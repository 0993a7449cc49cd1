from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.ports import Clock
from tests.fakes.clock import FakeClock


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def test_instants_are_utc(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC


async def test_a_passed_instant_is_not_waited_for(clock: Clock) -> None:
    await clock.sleep_until(clock.monotonic() - 5)


async def test_nobody_wakes_before_the_instant() -> None:
    clock = SystemClock()
    at = clock.monotonic() + 0.02
    await clock.sleep_until(at)
    assert clock.monotonic() >= at


async def test_the_fake_wakes_sleepers_at_their_instants_in_order() -> None:
    clock = FakeClock(monotonic=0.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, every: float, times: int) -> None:
        for n in range(1, times + 1):
            await clock.sleep_until(every * n)
            woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper("a", 3.0, 3)), asyncio.create_task(sleeper("b", 4.0, 2))]
    await clock.advance(0)
    await clock.advance(8.5)
    assert woken == [("a", 3.0), ("b", 4.0), ("a", 6.0), ("b", 8.0)]
    await clock.advance(0.5)
    await asyncio.gather(*tasks)
    assert woken[-1] == ("a", 9.0)


async def test_the_fake_forgets_a_cancelled_sleeper() -> None:
    clock = FakeClock(monotonic=0.0)
    task = asyncio.create_task(clock.sleep_until(5.0))
    await clock.advance(1)
    assert clock.next_wake == 5.0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.next_wake is None


def test_a_jump_of_the_wall_clock_leaves_monotonic_time_alone() -> None:
    clock = FakeClock()
    before, now = clock.monotonic(), clock.now()
    clock.jump_wall(-3600)
    assert (clock.monotonic(), clock.now()) == (before, now - timedelta(hours=1))
