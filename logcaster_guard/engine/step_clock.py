"""How long the present step of each run has lasted, over restarts of the guard and jumps of the wall clock."""

from __future__ import annotations

from logcaster_guard.domain.runs import Run
from logcaster_guard.ports import Clock

_CLOCK_SET = 7_200.0
"""Seconds by which a wall clock that is set, or changes its time of the year, may be wrong."""


class StepClock:
    """Tells the seconds that a run's step, or its ending, has lasted under guards that were there to see it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._marks: dict[str, tuple[object, float]] = {}

    def elapsed(self, run: Run) -> float:
        """Seconds since the present step, or the ending, began; 0 before the first step.

        The time before a restart counts only as far as the journal proves it, or beyond `_CLOCK_SET`: the wall clock
        may have been set meanwhile, and nobody looked. So a run also ends under a guard that is restarted often.
        """
        began = run.ending.at if run.ending is not None else run.started
        if began is None:
            return 0.0
        now = self._clock.monotonic()
        mark = self._marks.get(run.id)
        if mark is None or mark[0] != began:
            by_clock = (self._clock.now() - began).total_seconds() - _CLOCK_SET
            mark = self._marks[run.id] = (began, now - max(0.0, by_clock, run.witnessed))
        return now - mark[1]

    def forget(self, run: str) -> None:
        """The run has closed."""
        self._marks.pop(run, None)
