"""Which sources are failing: one warning when one goes, one word when it is back, however many targets it serves."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from logcaster_guard.domain import narration
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.notices import Severity
from logcaster_guard.domain.signals import Fault, Reading, SourceError, SourceName, Target
from logcaster_guard.domain.state import GUARD
from logcaster_guard.engine.chronicle import Chronicle
from logcaster_guard.ports import Clock

_OF_THE_SIGNAL = frozenset({Fault.CLIENT_ERROR, Fault.MALFORMED, Fault.TOO_LARGE})
_SHARED = frozenset({SourceName.PROMETHEUS, SourceName.KUBERNETES})


class Outages:
    """Keeps what is failing now. A signal whose query is refused is an outage of its own, not of its source."""

    def __init__(self, chronicle: Chronicle, clock: Clock) -> None:
        self._chronicle = chronicle
        self._clock = clock
        self._failing: dict[str, set[tuple[str, str]]] = {}
        self._since: dict[str, float] = {}
        self._log = structlog.get_logger()

    def failing(self) -> Mapping[str, float]:
        """What is failing, and since when (monotonic seconds)."""
        return dict(self._since)

    async def note(self, source: SourceName, target: Target, readings: Mapping[str, Reading]) -> None:
        """Take in what one read of a source gave."""
        for signal, reading in readings.items():
            place = (target.key, signal)
            key = self._key(source, target, signal, reading)
            for other in [k for k, places in self._failing.items() if place in places and k != key]:
                await self._mended(other, place)
            if isinstance(reading, SourceError) and key is not None:
                await self._broken(key, place, reading)

    def _key(self, source: SourceName, target: Target, signal: str, reading: Reading) -> str | None:
        if not isinstance(reading, SourceError):
            return None
        if reading.fault in _OF_THE_SIGNAL:
            return f"signal {signal} of {target.key}"
        return f"source {source}" if source in _SHARED else f"source {source} of {target.key}"

    async def _broken(self, key: str, place: tuple[str, str], reading: SourceError) -> None:
        places = self._failing.setdefault(key, set())
        first = not places
        places.add(place)
        if not first:
            return
        self._since[key] = self._clock.monotonic()
        self._log.warning("source.failing", what=key, fault=str(reading.fault), detail=reading.detail)
        text = (
            f"{key}: {reading.fault} ({reading.detail}). Its rules are held: nothing fires and nothing is taken "
            "for recovered until it answers again."
        )
        facts = {"source": key, "fault": str(reading.fault), "detail": reading.detail}
        await self._notify("source.failing", Severity.WARNING, f"The guard is blind: {key}", text, facts)

    async def _mended(self, key: str, place: tuple[str, str]) -> None:
        places = self._failing.get(key)
        if places is None:
            return
        places.discard(place)
        if places:
            return
        del self._failing[key]
        lasted = self._clock.monotonic() - self._since.pop(key)
        self._log.info("source.recovered", what=key, after_seconds=round(lasted, 1))
        title = f"The guard sees again: {key}"
        await self._notify("source.recovered", Severity.INFO, title, f"After {lasted:.0f} s.", {"source": key})

    async def _notify(
        self, event: str, severity: Severity, title: str, text: str, facts: Mapping[str, str]
    ) -> None:  # fmt: skip
        if not self._chronicle.available:
            return
        at = self._clock.now()
        id_ = f"{event}/{title}/{at.isoformat()}"
        notice = narration.guard_notice(event, severity, title, text, id=id_, at=at, facts=facts)
        try:
            await self._chronicle.tell(GUARD, NoticeQueued(at, notice))
        except JournalUnavailable as error:
            self._log.error("journal.unavailable", detail=str(error))
