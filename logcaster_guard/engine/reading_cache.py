"""The latest reading of each signal of one target, and the values of a while before."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

from logcaster_guard.domain.guard_reasons import NothingReadFor, NotReadYet, ReachesBack
from logcaster_guard.domain.measurements import NoDataRead, ReadingSeen, SourceFailed
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Fault, Gap, NoData, Reading, Signal, SourceError, Value

_REMEMBERED = 1_000
"""Values of a signal: at a poll each 30 s those of eight hours."""


class ReadingCache:
    """Readings age here: one older than `staleness` seconds says nothing about now."""

    def __init__(self, staleness: float) -> None:
        self._staleness = staleness
        self._readings: dict[str, Reading] = {}
        self._values: defaultdict[str, deque[Value]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def put(self, readings: Mapping[str, Reading]) -> None:
        """Keep these as the latest, unless a read that was begun earlier ended later."""
        for name, reading in readings.items():
            known = self._readings.get(name)
            if known is None or known.at <= reading.at:
                self._readings[name] = reading
                if isinstance(reading, Value):
                    self._values[name].append(reading)

    @property
    def seen(self) -> frozenset[str]:
        """The signals that have given a value."""
        return frozenset(self._values)

    def values(self, name: str, start: float, end: float) -> Sequence[Value]:
        """The values that were read between two monotonic instants, as far as they are remembered, oldest first."""
        return [v for v in self._values.get(name, ()) if start <= v.at <= end]

    def latest(self, name: str) -> Reading | None:
        """The reading that was put last, however old; None if there was none."""
        return self._readings.get(name)

    def readings(self, names: Iterable[str], now: float) -> Mapping[str, Reading]:
        """The reading of each signal as it counts at `now`.

        A source that has not answered for too long counts as failing, never as a target without data.
        """
        return {name: self._aged(name, now) for name in names}

    def since(self, signals: Iterable[Signal], now: float, since: float) -> Mapping[str, Reading]:
        """As `readings`, but one whose samples or lookback reach to before `since` counts as no data."""
        found: dict[str, Reading] = {}
        for signal in signals:
            reading = self._aged(signal.name, now)
            if isinstance(reading, Value) and _newest(reading) - signal.lookback < since:
                reading = NoData(reading.at, Gap.STALE, ReachesBack())
            found[signal.name] = reading
        return found

    def _aged(self, name: str, now: float) -> Reading:
        reading = self._readings.get(name)
        if reading is None:
            return SourceError(now, Fault.TIMED_OUT, NotReadYet())
        age = now - reading.at
        if age > self._staleness and not isinstance(reading, SourceError):
            return SourceError(now, Fault.TIMED_OUT, NothingReadFor(age))
        return reading


def _newest(value: Value) -> float:
    """When what it shows was the case, at the latest."""
    return value.at if value.sampled is None else min(value.at, value.sampled)


def shown(reading: Reading, signal: Signal | None = None) -> str | Message:
    """A reading as evidence for people: a number with its unit, or why there is none."""
    match reading:
        case Value(_, number):
            if signal is not None and signal.unit == "ratio":
                return f"{number * 100:.4g}%"
            unit = "" if signal is None else str(signal.unit)
            return f"{number:.6g}" + {"seconds": "s", "bytes": "B", "per_second": "/s"}.get(unit, "")
        case NoData(_, gap, detail):
            return NoDataRead(gap, detail)
        case SourceError(_, fault, detail):
            return SourceFailed(fault, detail)


def seen(signal: Signal, reading: Reading) -> ReadingSeen:
    """The same, with the signal's name."""
    found = shown(reading, signal)
    return ReadingSeen(signal.name, "", found) if isinstance(found, Message) else ReadingSeen(signal.name, found, "")
