"""Tasks by name within a task group, so that single ones can be begun and ended while the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


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
