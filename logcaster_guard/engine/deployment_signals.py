"""Reads how the pods of one Deployment fare, through the sources that the target's own signals come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from logcaster_guard.domain.guard_reasons import NoSourceOf, NoSourceOfHealth
from logcaster_guard.domain.signals import Gap, NoData, Reading, Signal, SourceName, Target, Unit, Value
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.ports import Clock, Source
from logcaster_guard.steps.step_services import Inspection

ERROR_RATE, REQUEST_RATE, HEALTH = "error_rate", "request_rate", "health_check_fails"


class SignalInspector:
    """`steps.services.Inspector` over the signals `error_rate` and `request_rate`, with a lookback of its own."""

    def __init__(
        self,
        targets: Sequence[Target],
        signals: Mapping[str, Signal],
        sources: Mapping[SourceName, Source],
        clock: Clock,
    ) -> None:
        self._targets = {target.key: target for target in targets}
        self._signals = signals
        self._sources = sources
        self._clock = clock

    async def __call__(self, target: str, deployment: str, window: float) -> Inspection:
        """Never raises for what a source does: that is a reading too."""
        known = self._targets.get(target)
        errors = await self._read(known, deployment, ERROR_RATE, window)
        rate = await self._read(known, deployment, REQUEST_RATE, window)
        requests = replace(rate, number=rate.number * window) if isinstance(rate, Value) else rate
        return Inspection(error_rate=errors, requests=requests)

    async def check(self, target: str, url: str) -> Reading:
        """`steps.services.Checker` through the source of health checks, whatever the target's own address is."""
        known, source = self._targets.get(target), self._sources.get(SourceName.HTTP)
        signal = Signal(HEALTH, Unit.COUNT, SourceName.HTTP)
        if known is None or source is None:
            return NoData(self._clock.monotonic(), Gap.NOT_READ, NoSourceOfHealth())
        # A name of its own, since checks in a row are counted by target.
        asked = replace(known, deployment=f"{known.deployment} at {url}", health_url=url)
        return (await read_now(source, asked, [signal]))[HEALTH]

    async def _read(self, target: Target | None, deployment: str, name: str, window: float) -> Reading:
        signal = self._signals.get(name)
        source = None if signal is None else self._sources.get(signal.source)
        if target is None or signal is None or source is None:
            return NoData(self._clock.monotonic(), Gap.NOT_READ, NoSourceOf(name))
        asked = replace(target, deployment=deployment)
        # How many requests are enough is the judge's to say.
        own = replace(signal, lookback=window, min_requests=0, apart=True)
        return (await read_now(source, asked, [own]))[name]
