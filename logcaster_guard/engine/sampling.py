"""Asks each source once for what many targets need at the same moment; one target takes the same path as thousands."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

from logcaster_guard.domain.signals import Reading, Signal, SourceName, Target
from logcaster_guard.ports import Clock, Request, Source

TOGETHER = 0.05
"""Seconds that polls may lie apart and still go together."""

_Readings = Mapping[str, Reading]


async def read_now(source: Source, target: Target, signals: Sequence[Signal]) -> _Readings:
    """Readings of this target alone, by signal name, for which the cluster is asked anew."""
    requests = [Request(target, signal) for signal in signals]
    return {request.signal.name: reading async for request, reading in source.read(requests)}


class Sampler:
    """Batches the polls of all targets. Each target gets its readings as soon as the source has given them.

    Slots lie on one grid, an `interval` (seconds) apart from when this was made, so that all targets are due together.
    """

    def __init__(self, sources: Mapping[SourceName, Source], clock: Clock, interval: float) -> None:
        self._sources = sources
        self._clock = clock
        self._interval = interval
        self._origin = clock.monotonic()
        self._waking: dict[int, asyncio.Event] = {}
        self._open: dict[SourceName, _Batch] = {}

    def slot_before(self, at: float) -> float:
        """The last slot that is not after monotonic second `at`."""
        return self._origin + math.floor((at - self._origin) / self._interval + 1e-9) * self._interval

    def slot_after(self, at: float) -> float:
        """The first slot after monotonic second `at`."""
        return self.slot_before(at) + self._interval

    async def until(self, at: float) -> None:
        """Return at monotonic second `at`, give or take `TOGETHER`: at once with everybody who waits for then."""
        moment = math.floor(at / TOGETHER)
        while (others := self._waking.get(moment)) is not None:
            await others.wait()
            if self._clock.monotonic() > at - TOGETHER:
                return
        woken = self._waking[moment] = asyncio.Event()
        try:
            await self._clock.sleep_until(at)
        finally:
            # If this was cancelled, another of those who wait takes its place.
            del self._waking[moment]
            woken.set()

    async def read(self, name: SourceName, target: Target, signals: Sequence[Signal], *, shared: bool) -> _Readings:
        """Readings by signal name, asked for with whatever else is asked of this source now; `shared` as in `Request`.

        If the source breaks on a batch, each target is asked alone; only those that fail again get the exception.
        """
        batch = self._open.get(name)
        if batch is None:
            batch = self._open[name] = _Batch(self._sources[name])
            batch.task = asyncio.create_task(self._send(name, batch), name=f"sample {name}")
        order = batch.add([Request(target, signal, shared) for signal in signals])
        try:
            return await order.readings
        except asyncio.CancelledError:
            if not batch.waiting and batch.task is not None:
                self._close(name, batch)
                batch.task.cancel()
            raise

    async def _send(self, name: SourceName, batch: _Batch) -> None:
        # Whoever was woken with the first of them has asked by now.
        self._close(name, batch)
        await batch.ask()

    def _close(self, name: SourceName, batch: _Batch) -> None:
        if self._open.get(name) is batch:
            del self._open[name]


class _Order:
    """What one target has asked for in a batch."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.readings: asyncio.Future[_Readings] = asyncio.get_running_loop().create_future()
        self._found: dict[str, Reading] = {}

    def take(self, request: Request, reading: Reading) -> None:
        self._found[request.signal.name] = reading
        if len(self._found) == len(self.requests) and not self.readings.done():
            self.readings.set_result(self._found)


class _Batch:
    """The orders of many targets to one source."""

    def __init__(self, source: Source) -> None:
        self.task: asyncio.Task[None] | None = None
        self._source = source
        self._orders: list[_Order] = []

    @property
    def waiting(self) -> Sequence[_Order]:
        return [order for order in self._orders if not order.readings.done()]

    def add(self, requests: Sequence[Request]) -> _Order:
        self._orders.append(_Order(requests))
        return self._orders[-1]

    async def ask(self) -> None:
        try:
            await self._ask(self._orders)
        except Exception:  # noqa: BLE001 - one target that a source cannot cope with must not take the others' readings
            await asyncio.gather(*(self._ask_alone(order) for order in self.waiting))

    async def _ask_alone(self, order: _Order) -> None:
        try:
            await self._ask([order])
        except Exception as defect:  # noqa: BLE001 - raised where it is waited for
            if not order.readings.done():
                order.readings.set_exception(defect)

    async def _ask(self, orders: Sequence[_Order]) -> None:
        order_of = {request: order for order in orders for request in order.requests}
        async for request, reading in self._source.read(list(order_of)):
            order_of[request].take(request, reading)
        if any(not order.readings.done() for order in orders):
            raise RuntimeError(f"the source {self._source.name} left requests unanswered")
