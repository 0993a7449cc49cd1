"""Maintenance windows: times of the week in which breaches are expected and nothing is rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """On each of `days` (0 is Monday) from `start` to `end`, by the clocks of `zone`.

    An `end` that is not after `start` is on the following day. `targets` are names, None for all.
    """

    name: str
    days: frozenset[int]
    start: time
    end: time
    zone: tzinfo
    targets: frozenset[str] | None = None

    def applies_to(self, target: str) -> bool:
        """Whether the target of this name is under maintenance in it."""
        return self.targets is None or target in self.targets

    def open_until(self, now: datetime) -> datetime | None:
        """When the window that is open at `now` ends; None outside of one.

        Where the clocks are set, convention of PEP 495: a time that does not exist is read by the offset before the
        gap, and of one that comes twice a window begins at the first and ends at the second.
        """
        today = now.astimezone(self.zone).date()
        days = 2 if self.end <= self.start else 1
        for day in (today - timedelta(days=1), today)[2 - days :]:
            if day.weekday() not in self.days:
                continue
            begins = datetime.combine(day, self.start, self.zone).astimezone(UTC)
            last = day + timedelta(days=days - 1)
            ends = datetime.combine(last, self.end.replace(fold=1), self.zone).astimezone(UTC)
            if begins <= now < ends:
                return ends
        return None
