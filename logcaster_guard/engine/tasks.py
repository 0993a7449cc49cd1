"""Tasks by name within a task group, so that single ones can be begun and ended while the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from logcaster_guard.ports import Clock


class LoopTasks:
    """The running loops of one target."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def running(self, name: str) -> bool:
        """Whether a loop of this name was begun and not ended."""
        return name in self._tasks

    def begin(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """Run `loop` until it is ended or the group is."""
        self._tasks[name] = self._group.create_task(loop, name=name)

    def end(self, name: str) -> None:
        """Cancel the loop of this name."""
        self._tasks.pop(name).cancel()


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
