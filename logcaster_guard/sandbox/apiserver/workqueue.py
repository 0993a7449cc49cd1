"""Keys to be reconciled: woken by changes and by timers, one at a time, retried with growing delay."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from logcaster_guard.sandbox.apiserver.clock import Clock
from logcaster_guard.sandbox.apiserver.errors import ApiError

K = TypeVar("K", bound=Hashable)

_LOG = logging.getLogger(__name__)
_FIRST_RETRY = 0.05
_LONGEST_RETRY = 30.0


class WorkQueue(Generic[K]):
    """Runs `reconcile(key)` for each added key; a key added again while it waits runs once.

    `reconcile` returns seconds after which it wants to run again, or None.
    """

    def __init__(self, name: str, reconcile: Callable[[K], float | None], clock: Clock) -> None:
        self._name = name
        self._reconcile = reconcile
        self._clock = clock
        self._waiting: dict[K, None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[K, tuple[float, asyncio.Task[None]]] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Reconcile `key` soon."""
        self._waiting[key] = None
        self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Reconcile `key` after `seconds`, or earlier where that was asked before."""
        at = self._clock.monotonic() + seconds
        present = self._timers.get(key)
        if present is not None:
            if present[0] <= at:
                return
            present[1].cancel()
        self._timers[key] = (at, asyncio.create_task(self._later(key, at), name=f"{self._name}:{key}"))

    async def run(self) -> None:
        """Reconcile until cancelled; on the way out every timer ends too."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    self._one(next(iter(self._waiting)))
                    # Requests come in between, as they do on a control plane of several processes.
                    await asyncio.sleep(0)
        finally:
            timers = [task for _, task in self._timers.values()]
            for task in timers:
                task.cancel()
            await asyncio.gather(*timers, return_exceptions=True)

    def _one(self, key: K) -> None:
        del self._waiting[key]
        try:
            again = self._reconcile(key)
        except ApiError as e:
            self._retry(key, e)
            return
        except Exception as e:  # noqa: BLE001 # the edge of the controller's task: one bad object must not end it
            _LOG.exception("controller %s failed on %s", self._name, key)
            self._retry(key, e)
            return
        self._failures.pop(key, None)
        if again is not None:
            self.add_after(key, again)

    def _retry(self, key: K, cause: Exception) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        _LOG.debug("controller %s tries %s again: %s", self._name, key, cause)
        self.add_after(key, min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(failures, 16)))

    async def _later(self, key: K, at: float) -> None:
        await self._clock.sleep_until(at)
        del self._timers[key]
        self.add(key)
