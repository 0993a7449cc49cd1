"""Which sources are failing: one warning when one goes, one word when it is back, however many targets it serves."""

from __future__ import annotations

from collections.abc import Mapping

from logcaster_guard.domain.problems import ProblemKind
from logcaster_guard.domain.signals import Fault, Reading, SourceError, SourceName, Target
from logcaster_guard.engine.problems import Problems
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.ports import Clock

_OF_THE_QUERY = frozenset({Fault.CLIENT_ERROR, Fault.MALFORMED, Fault.TOO_LARGE})
"""Faults of what was asked: each cause is a problem of its own. Every other fault is one of the source."""

_SHARED = frozenset({SourceName.PROMETHEUS, SourceName.KUBERNETES})

KUBERNETES = f"source {SourceName.KUBERNETES}"
"""The problem that the API server does not answer, whoever asks."""


class SourceHealth:
    """Takes in what every read gave, and notes what is failing."""

    def __init__(self, problems: Problems, clock: Clock) -> None:
        self._problems = problems
        self._lines = RecurringLog(clock)

    def note(self, source: SourceName, target: Target, readings: Mapping[str, Reading]) -> None:
        """Take in what one read of a source gave."""
        what = f"source {source}" if source in _SHARED else f"source {source} of {target.key}"
        for signal, reading in readings.items():
            key = _key(what, reading) if isinstance(reading, SourceError) else None
            for other in self._problems.keys_at(ProblemKind.SOURCE, target, signal):
                if other != key:
                    self._mended(other, what, target, signal)
            if key is not None and isinstance(reading, SourceError):
                self._broken(key, what, target, signal, reading)

    def _broken(self, key: str, what: str, target: Target, signal: str, reading: SourceError) -> None:
        cause = f"{reading.fault} ({reading.detail})" if reading.detail else str(reading.fault)
        if self._problems.note(ProblemKind.SOURCE, key, target, signal, what=what, cause=cause):
            self._lines.warning(
                "source.failing", about=what, what=what, fault=str(reading.fault), detail=reading.detail
            )

    def _mended(self, key: str, what: str, target: Target, signal: str) -> None:
        lasted = self._problems.clear(key, target, signal)
        if lasted is not None:
            self._lines.info("source.recovered", about=what, what=what, after_seconds=round(lasted, 1))


def _key(what: str, reading: SourceError) -> str:
    return f"{what}: {reading.fault}: {reading.detail}" if reading.fault in _OF_THE_QUERY else what
