"""Wraps a source: a number that its signal cannot have becomes `NoData`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from logcaster_guard.domain.guard_reasons import PortionUnread, ReadAs
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.signals import (
    Gap,
    History,
    NoData,
    Reading,
    Series,
    Signal,
    SourceName,
    Target,
    Value,
    possible,
)
from logcaster_guard.ports import Answer, Clocked, Divisible, Request, Source


class CredibleSource:
    """`ports.Source`, `ports.Divisible` and `ports.Clocked` over another source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> SourceName:
        """The other source's."""
        return self._source.name

    async def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """The other's readings, less the impossible ones."""
        async for request, reading in self._source.read(requests):
            yield request, _checked(request.signal, reading)

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        """The other's past, with holes in it where that is impossible."""
        past = await self._source.history(target, signal, start, end, step)
        if not isinstance(past, Series):
            return past
        return replace(past, points=tuple(p for p in past.points if possible(signal, p[1])))

    async def portion(self, target: Target, signal: Signal, group: PodGroup, start: float, end: float) -> Reading:
        """The other's portion; no data where it has none to give."""
        if not isinstance(self._source, Divisible):
            return NoData(end, Gap.NOT_BY_POD, PortionUnread(self.name))
        return _checked(signal, await self._source.portion(target, signal, group, start, end))

    def ahead(self) -> float:
        """The other's; 0 where it cannot tell."""
        return self._source.ahead() if isinstance(self._source, Clocked) else 0.0

    async def aclose(self) -> None:
        """Close the other."""
        await self._source.aclose()


def _checked(signal: Signal, reading: Reading) -> Reading:
    if isinstance(reading, Value) and not possible(signal, reading.number):
        return NoData(reading.at, Gap.IMPOSSIBLE, ReadAs(signal.name, f"{reading.number:g}"))
    return reading
