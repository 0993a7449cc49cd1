"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Sized
from datetime import UTC, datetime, timedelta

SETTLE_ROUNDS = 20
START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Implements `ports.Clock`; monotonic time and wall time advance together and can be set apart."""

    def __init__(self, monotonic: float = 1_000.0, now: datetime = START) -> None:
        self._monotonic = monotonic
        self._now = now
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._monotonic

    def now(self) -> datetime:
        return self._now

    async def sleep_until(self, at: float) -> None:
        if at <= self._monotonic:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at, next(self._order), woken))
        await woken

    @property
    def next_wake(self) -> float | None:
        """Monotonic second of the earliest sleeper; None if nobody sleeps."""
        self._drop_cancelled()
        return self._sleepers[0][0] if self._sleepers else None

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward (or back) as an operator or NTP would; monotonic time does not notice."""
        self._now += timedelta(seconds=seconds)

    def skip(self, seconds: float) -> None:
        """Let time pass without waking anybody: the process was paused, or a synchronous call took this long."""
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its own instant, in order, and letting it run before the next."""
        end = self._monotonic + seconds
        while (wake := self.next_wake) is not None and wake <= end:
            self.skip(max(0.0, wake - self._monotonic))
            heapq.heappop(self._sleepers)[2].set_result(None)
            await settle()
        self.skip(max(0.0, end - self._monotonic))
        await settle()

    def _drop_cancelled(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)


async def settle(rounds: int = SETTLE_ROUNDS) -> None:
    """Give every ready task `rounds` turns of the event loop, or as many as there are until none is ready.

    One empty turn is not enough: what a selector or a due timer makes ready shows in the turn after it.
    """
    ready: Sized = vars(asyncio.get_running_loop())["_ready"]  # what is public tells nobody that a loop is idle
    idle = 0
    for _ in range(rounds):
        await asyncio.sleep(0)
        idle = 0 if ready else idle + 1
        if idle == 2:
            return
