"""Whether the loops of one target make progress, each within a bound of its own."""

from __future__ import annotations

from collections.abc import Mapping

from logcaster_guard.ports import Clock

LEAST_GRACE = 60.0
"""Seconds that every loop has beyond what it promised: a slow source is told as a failing one, not as a stuck guard."""

_GRACE_INTERVALS = 4.0


class Watchdog:
    """What each loop owes, and since when.

    A loop owes progress once it was given work (`owes`), until it has done some (`made`); a loop that only waits for
    work owes nothing. The bound is what it promised plus four polling intervals, at least `LEAST_GRACE`.
    """

    def __init__(self, clock: Clock, interval: float) -> None:
        self._clock = clock
        self.grace = max(_GRACE_INTERVALS * interval, LEAST_GRACE)
        self._deadlines: dict[str, float] = {}

    def owes(self, loop: str) -> None:
        """The loop has work to do from now on; what it owed before is not put off."""
        self._deadlines.setdefault(loop, self._clock.monotonic() + self.grace)

    def made(self, loop: str, *, again: float | None = None) -> None:
        """The loop made progress, and will again at monotonic second `again`, or when it is given work."""
        self._deadlines.pop(loop, None)
        if again is not None:
            self._deadlines[loop] = again + self.grace

    def ended(self, loop: str) -> None:
        """The loop is no longer there."""
        self._deadlines.pop(loop, None)

    def stuck(self) -> Mapping[str, float]:
        """The loops that are over their bound, and by how many seconds."""
        now = self._clock.monotonic()
        return {loop: now - deadline for loop, deadline in self._deadlines.items() if now > deadline}
