"""A source whose numbers a test sets."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence

from logcaster_guard.adapters.per_target import each_target
from logcaster_guard.domain.signals import (
    Fault,
    Gap,
    History,
    NoData,
    NoHistory,
    Reading,
    Series,
    Signal,
    SourceError,
    SourceName,
    Target,
    Value,
)
from logcaster_guard.ports import Answer, Clock, Request

Key = tuple[str, str]


class TargetByTarget(ABC):
    """The `read` of a source that reads each target by itself."""

    def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        return each_target(requests, lambda target, signals, _: self.of_target(target, signals))

    @abstractmethod
    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        """One reading for each of the signals, by name."""


class FakeSource(TargetByTarget):
    """Implements `ports.Source`; each signal of each target is a step function of time, `None` for no data.

    With `past` it answers for the past too. While `fault` is set it fails with `detail`, and asks to be left alone for
    `retry_after` seconds; while `gate` is not set, it hangs. A read takes `delay` seconds. `defect` is raised instead
    of an answer. Samples are `lag` seconds old, and show no more than `ceiling`; those of a backend that is `behind` so
    many seconds are no data. Its clock is `skew` seconds ahead.
    """

    def __init__(self, name: SourceName, clock: Clock, *, past: bool) -> None:
        self._name = name
        self._clock = clock
        self._levels: dict[Key, list[tuple[float, float | None]]] = {}
        self.past = past
        self.fault: Fault | None = None
        self.detail = ""
        self.delay = 0.0
        self.retry_after: float | None = None
        self.defect: Exception | None = None
        self.lag = 0.0
        self.behind = 0.0
        self.skew = 0.0
        self.ceiling: float | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.history_gate = asyncio.Event()
        self.history_gate.set()
        self.reads: list[float] = []

    @property
    def name(self) -> SourceName:
        return self._name

    def set(self, target: str, signal: str, number: float | None) -> None:
        """From now on the signal of the Deployment `target` has this number."""
        self._levels.setdefault((target, signal), []).append((self._clock.monotonic(), number))

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        at = self._clock.monotonic()
        self.reads.append(at)
        await self.gate.wait()
        if self.delay:
            await self._clock.sleep_until(at + self.delay)
        if self.defect is not None:
            raise self.defect
        return {s.name: self._reading((target.deployment, s.name), at) for s in signals}

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        await self.history_gate.wait()
        if self.fault is not None:
            return SourceError(self._clock.monotonic(), self.fault, retry_after=self.retry_after)
        if not self.past:
            return NoHistory()
        instants = [start + step * i for i in range(round((end - start) / step) + 1)]
        numbers = [(t, self._level((target.deployment, signal.name), t)) for t in instants]
        return Series(tuple((t, n) for t, n in numbers if n is not None), step)

    def ahead(self) -> float:
        return self.skew

    async def aclose(self) -> None:
        pass

    def _reading(self, key: Key, at: float) -> Reading:
        if self.fault is not None:
            return SourceError(at, self.fault, self.detail, self.retry_after)
        number = self._level(key, at - self.lag)
        if self.behind:
            return NoData(at, Gap.LAGGING, f"the newest sample is {self.behind:.0f} s old")
        if number is None:
            return NoData(at, Gap.EMPTY)
        return Value(at, number, sampled=at - self.lag if self.lag else None, ceiling=self.ceiling)

    def _level(self, key: Key, at: float) -> float | None:
        found = [number for since, number in self._levels.get(key, []) if since <= at]
        return found[-1] if found else None
