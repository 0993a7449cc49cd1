"""Which clocks differ from the guard's: told once when one begins to, and once when it agrees again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog

from logcaster_guard.domain.problems import ClockDifference, OfClock, ProblemKind
from logcaster_guard.domain.signals import Target
from logcaster_guard.engine.problem_tracker import Problems
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock

DIFFERS = 2.0
"""Seconds from which on a difference is a problem: less may be the time that an answer takes."""

_EVERY = 30.0


class ClockComparison:
    """Looks at `clocks`: by whose it is, how many seconds that clock is ahead of the guard's.

    A clock that differs is one problem, which concerns all targets.
    """

    def __init__(
        self, clocks: Mapping[str, Callable[[], float]], targets: Sequence[Target], problems: Problems, clock: Clock
    ) -> None:
        self._clocks = clocks
        self._targets = targets
        self._problems = problems
        self._clock = clock
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Compare until cancelled. The first answers of a server narrow the difference down, so they are waited for."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + _EVERY)
            for whose, ahead in self._clocks.items():
                self._compare(OfClock(whose), ahead())

    def _compare(self, clock: OfClock, ahead: float) -> None:
        what = english().text(clock)
        if abs(ahead) >= DIFFERS:
            cause = ClockDifference(abs(ahead), ahead=ahead > 0)
            noted = [
                self._problems.note(ProblemKind.CLOCK, what, target, what, what=clock, cause=cause)
                for target in self._targets
            ]
            if any(noted):
                self._log.warning(
                    "clock.skewed", what=what, seconds_ahead=round(ahead, 1), detail=english().text(cause)
                )
            return
        lasted = [self._problems.clear(what, target, what) for target in self._targets]
        if any(seconds is not None for seconds in lasted):
            self._log.info("clock.agrees", what=what)
