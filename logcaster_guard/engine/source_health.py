"""Which sources fail or lag: one warning when it begins, one word when it is over, however many targets they serve."""

from __future__ import annotations

from collections.abc import Mapping

from logcaster_guard.domain.problems import OfSource, ProblemKind, SourceFault
from logcaster_guard.domain.signals import Fault, NoData, Reading, SourceError, SourceName, Target, is_lagging
from logcaster_guard.engine.problem_tracker import Problems
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock

_OF_THE_QUERY = frozenset({Fault.CLIENT_ERROR, Fault.MALFORMED, Fault.TOO_LARGE})
"""Faults of what was asked: each cause is a problem of its own. Every other fault is one of the source."""

_SHARED = frozenset({SourceName.PROMETHEUS, SourceName.KUBERNETES})

KUBERNETES = f"source {SourceName.KUBERNETES}"
"""The problem that the API server does not answer, whoever asks."""


class SourceHealth:
    """Takes in what every read gave, and notes what is failing or lags."""

    def __init__(self, problems: Problems, clock: Clock) -> None:
        self._problems = problems
        self._lines = RecurringLog(clock)

    def note(self, source: SourceName, target: Target, readings: Mapping[str, Reading]) -> None:
        """Take in what one read of a source gave."""
        of = OfSource(source, "" if source in _SHARED else target.key)
        what = _what(of)
        for signal, reading in readings.items():
            key = _key(what, reading) if isinstance(reading, SourceError) else None
            for other in self._problems.keys_at(ProblemKind.SOURCE, target, signal):
                if other != key:
                    self._mended(other, what, target, signal)
            if key is not None and isinstance(reading, SourceError):
                self._broken(key, of, target, signal, reading)
            self._note_lag(of, target, signal, reading)

    def _note_lag(self, of: OfSource, target: Target, signal: str, reading: Reading) -> None:
        """All that comes late from a source is one problem, whatever the metric. A failing read tells nothing of it."""
        what = _what(of)
        key = f"lag/{what}"
        if isinstance(reading, NoData) and is_lagging(reading):
            if self._problems.note(ProblemKind.LAG, key, target, signal, what=of, cause=reading.detail):
                self._lines.warning("source.lagging", about=what, what=what, detail=english().text(reading.detail))
        elif not isinstance(reading, SourceError) and (lasted := self._problems.clear(key, target, signal)) is not None:
            self._lines.info("source.caught_up", about=what, what=what, after_seconds=round(lasted, 1))

    def _broken(self, key: str, of: OfSource, target: Target, signal: str, reading: SourceError) -> None:
        what, cause = _what(of), SourceFault(reading.fault, reading.detail)
        if self._problems.note(ProblemKind.SOURCE, key, target, signal, what=of, cause=cause):
            self._lines.warning(
                "source.failing", about=what, what=what, fault=str(reading.fault), detail=english().text(reading.detail)
            )

    def _mended(self, key: str, what: str, target: Target, signal: str) -> None:
        lasted = self._problems.clear(key, target, signal)
        if lasted is not None:
            self._lines.info("source.recovered", about=what, what=what, after_seconds=round(lasted, 1))


def _what(of: OfSource) -> str:
    return f"source {of.source} of {of.target}" if of.target else f"source {of.source}"


def _key(what: str, reading: SourceError) -> str:
    return f"{what}: {reading.fault}: {english().text(reading.detail)}" if reading.fault in _OF_THE_QUERY else what
