"""How far another machine's clock is from the guard's, by the Date header of its answers; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_RESOLUTION = timedelta(seconds=1)
"""The header has whole seconds, cut off."""


class Skew:
    """What each answer leaves possible, narrowed down by the next ones; begun anew where they contradict each other."""

    def __init__(self) -> None:
        self._low: timedelta | None = None
        self._high = timedelta()

    def note(self, headers: Mapping[str, str], sent: datetime, received: datetime) -> None:
        """Take in the headers of an answer to a request that was sent and answered at these instants of the guard's."""
        if "Age" in headers:  # a cache's answer has the date of somebody else's question
            return
        try:
            date = parsedate_to_datetime(headers.get("Date", ""))
        except ValueError:
            return
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        low, high = date - received, date + _RESOLUTION - sent
        if self._low is None or low > self._high or high < self._low:
            self._low, self._high = low, high
        else:
            self._low, self._high = max(low, self._low), min(high, self._high)

    @property
    def seconds(self) -> float:
        """How far the other clock is ahead of the guard's; 0 as long as both may agree."""
        if self._low is None or self._low <= timedelta() <= self._high:
            return 0.0
        return ((self._low + self._high) / 2).total_seconds()
