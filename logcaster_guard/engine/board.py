"""The latest reading of each signal of one target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from logcaster_guard.domain.signals import Fault, Gap, NoData, Reading, Signal, SourceError, Value


class Board:
    """Readings age here: one older than `staleness` seconds says nothing about now."""

    def __init__(self, staleness: float) -> None:
        self._staleness = staleness
        self._readings: dict[str, Reading] = {}

    def put(self, readings: Mapping[str, Reading]) -> None:
        """Keep these as the latest, unless a read that was begun earlier ended later."""
        for name, reading in readings.items():
            known = self._readings.get(name)
            if known is None or known.at <= reading.at:
                self._readings[name] = reading

    def readings(self, names: Iterable[str], now: float) -> Mapping[str, Reading]:
        """The reading of each signal as it counts at `now`.

        A source that has not answered for too long counts as failing, never as a target without data.
        """
        return {name: self._aged(name, now) for name in names}

    def since(self, signals: Iterable[Signal], now: float, since: float) -> Mapping[str, Reading]:
        """As `readings`, but one whose lookback reaches to before `since` counts as no data."""
        found: dict[str, Reading] = {}
        for signal in signals:
            reading = self._aged(signal.name, now)
            if isinstance(reading, Value) and reading.at - signal.lookback < since:
                reading = NoData(reading.at, Gap.STALE, "reaches back to before the rollout ended")
            found[signal.name] = reading
        return found

    def _aged(self, name: str, now: float) -> Reading:
        reading = self._readings.get(name)
        if reading is None:
            return SourceError(now, Fault.TIMED_OUT, "not read yet")
        age = now - reading.at
        if age > self._staleness and not isinstance(reading, SourceError):
            return SourceError(now, Fault.TIMED_OUT, f"no reading for {age:.0f} s")
        return reading


def text(reading: Reading, signal: Signal | None = None) -> str:
    """A reading as evidence for people."""
    match reading:
        case Value(_, number):
            if signal is not None and signal.unit == "ratio":
                return f"{number * 100:.4g}%"
            return f"{number:.6g}" + {"seconds": "s", "bytes": "B", "per_second": "/s"}.get(
                "" if signal is None else str(signal.unit), ""
            )
        case NoData(_, gap, detail):
            return f"no data: {gap}" + (f" ({detail})" if detail else "")
        case SourceError(_, fault, detail):
            return f"source failing: {fault}" + (f" ({detail})" if detail else "")
