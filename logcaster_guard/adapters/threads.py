"""The event loop's threads for blocking calls, none of which may hold the exit of the process.

asyncio resolves names in its default executor, whose threads are waited for at the end: a resolver that hangs would
keep a guard that was told to stop from stopping, and six of them all others from being resolved.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

MOST = 64
"""Calls under way at a time; further ones wait."""

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """An executor for `loop.set_default_executor`, on daemon threads; shutting it down waits for nobody."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__(max_workers=most)
        self._most = most
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._started = self._pending = 0
        self._ended = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call on a thread; raises RuntimeError after `shutdown`."""
        future: Future[T] = Future()
        with self._guard:
            if self._ended:
                raise RuntimeError("no call can be made after the end of the threads")
            self._pending += 1
            self._calls.put(lambda: _perform(future, lambda: fn(*args, **kwargs)))
            if self._pending > self._started and self._started < self._most:
                threading.Thread(target=self._work, name=f"call-{self._started}", daemon=True).start()
                self._started += 1
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads that are free; a call under way is left to itself, whatever `wait` says."""
        with self._guard:
            self._ended = True
            for _ in range(self._started):
                self._calls.put(None)
        super().shutdown(wait=wait, cancel_futures=cancel_futures)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            finally:
                with self._guard:
                    self._pending -= 1


def _perform(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
