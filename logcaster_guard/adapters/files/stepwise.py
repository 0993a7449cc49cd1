"""Work that is a generator is done on threads, a fraction of a second at a time, so that it can be told and ended."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from typing import Generic, TypeVar

from logcaster_guard.file_trees import Progress

SLICE = 0.2
"""Seconds of work between two looks at whether it is to go on."""

T = TypeVar("T")


class _Stepwise(Generic[T]):
    """The work, which one thread does at a time."""

    def __init__(self, work: Generator[Progress, None, T]) -> None:
        self._work = work
        self._lock = threading.Lock()

    def some(self) -> Progress | tuple[T]:
        """Go on for a while; how far it is then, or its result by itself in a tuple."""
        with self._lock:
            until = time.monotonic() + SLICE
            try:
                while True:
                    progress = next(self._work)
                    if time.monotonic() >= until:
                        return progress
            except StopIteration as end:
                return (end.value,)

    def close(self) -> None:
        """End it, when the thread that is at it has come to the next place where it can be."""
        with self._lock:
            self._work.close()


async def stepwise(work: Generator[Progress, None, T]) -> AsyncGenerator[Progress | T, None]:
    """Do the work on threads; yields its progress, and last its result. What was begun is ended when this is closed."""
    steps = _Stepwise(work)
    try:
        while isinstance(found := await asyncio.to_thread(steps.some), Progress):
            yield found
        yield found[0]
    finally:
        await asyncio.shield(asyncio.to_thread(steps.close))
