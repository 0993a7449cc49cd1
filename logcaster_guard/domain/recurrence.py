"""When something that happens over and over is worth a line: at its first time, and then at growing intervals."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

FIRST, LONGEST = 60.0, 3_600.0
"""Seconds between the first two lines of one cause, and between any two at most; the interval doubles."""

OVER = 600.0
"""Seconds after which something that does not happen any more counts as over."""

_MOST = 1_000
_NUMBERS = re.compile(r"\d+")


@dataclass(slots=True)
class _Going:
    next_at: float
    gap: float
    last: float
    untold: int = 0


class Recurrences:
    """What goes on, by subject and cause; causes that differ in numbers alone are one. At most 1,000 are remembered.

    A cause that has not been seen for as long as it was last kept back, at least `OVER` seconds, is news again.
    """

    def __init__(self) -> None:
        self._going: OrderedDict[tuple[str, str], _Going] = OrderedDict()

    def due(self, subject: str, cause: str, now: float) -> int | None:
        """It has happened at monotonic second `now`: how often since it was told last; None if it is not told now."""
        key = subject, _NUMBERS.sub("#", cause)
        going = self._going.get(key)
        if going is None or now - going.last > max(going.gap, OVER):
            self._going[key] = _Going(now + FIRST, FIRST, now)
            self._going.move_to_end(key)
            if len(self._going) > _MOST:
                self._going.popitem(last=False)
            return 1
        going.last = now
        going.untold += 1
        if now < going.next_at:
            return None
        times, going.untold = going.untold, 0
        going.gap = min(2 * going.gap, LONGEST)
        going.next_at = now + going.gap
        return times
