"""How far another machine's clock is ahead of this one's, as the `Date` of its answers tells.

A `Date` has whole seconds: an answer that says `d` was made between `d` and `d + 1` by its clock, and between sending
and receiving by this one, so that the offset lies between `d - received` and `d + 1 - sent`. Each answer narrows that,
until a clock is set and one contradicts it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime


class ClockSkew:
    """Narrowed with each answer. `low` and `high` are seconds."""

    def __init__(self) -> None:
        self.low, self.high = -math.inf, math.inf

    @property
    def ahead(self) -> float:
        """By how many seconds its clock is ahead, at most; 0 where it may not differ at all."""
        return 0.0 if self.low <= 0.0 <= self.high else self.high

    @property
    def likely(self) -> float:
        """By how many seconds it is most likely ahead; 0 where it may not differ at all."""
        return 0.0 if self.low <= 0.0 <= self.high else (self.low + self.high) / 2

    def note(self, headers: Mapping[str, str], sent: float, received: float) -> None:
        """Take in an answer; `sent` and `received` are seconds since the epoch by this machine's clock."""
        if "Age" in headers:  # a cache's answer has the date of somebody else's question
            return
        try:
            found = parsedate_to_datetime(headers.get("Date", ""))
        except ValueError:
            return
        stamp = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
        low, high = stamp - received, stamp + 1.0 - sent
        contradicts = low > self.high or high < self.low
        self.low, self.high = (low, high) if contradicts else (max(low, self.low), min(high, self.high))
