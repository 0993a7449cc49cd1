"""Loops by name within a task group, so that single ones can be begun and ended while the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from logcaster_guard.engine.guard_counters import Counters
from logcaster_guard.engine.watchdog import Watchdog
from logcaster_guard.ports import Clock


class LoopTasks:
    """The running loops of one target. One that a defect has ended begins again `pause` seconds later."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        clock: Clock,
        watchdog: Watchdog,
        counters: Counters,
        log: FilteringBoundLogger,
        *,
        pause: float,
    ) -> None:
        self._group = group
        self._clock = clock
        self._watchdog = watchdog
        self._counters = counters
        self._log = log
        self._pause = pause
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def running(self, name: str) -> bool:
        """Whether a loop of this name was begun and not ended."""
        return name in self._tasks

    def begin(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run `loop` until it is ended or the group is."""
        self._tasks[name] = self._group.create_task(self._lasting(loop, name), name=name)

    def end(self, name: str) -> None:
        """Cancel the loop of this name."""
        self._tasks.pop(name).cancel()

    async def _lasting(self, loop: Callable[[], Awaitable[None]], name: str) -> None:
        """Begin a loop again that a defect has ended: one must not blind the guard to everything else."""
        try:
            while True:
                try:
                    await loop()
                except Exception as error:  # noqa: BLE001 - the edge of a task: a defect must not pass in silence
                    self._counters.crashes[name] += 1
                    self._log.error("watch.crashed", loop=name, exc_info=error)
                await self._clock.sleep_until(self._clock.monotonic() + self._pause)
        finally:
            self._watchdog.ended(name)


async def until(clock: Clock, event: asyncio.Event, at: float | None) -> None:
    """Wait for the event, or until monotonic second `at` if that comes first."""
    if at is None:
        await event.wait()
        return
    waits = [asyncio.create_task(event.wait()), asyncio.create_task(clock.sleep_until(at))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
