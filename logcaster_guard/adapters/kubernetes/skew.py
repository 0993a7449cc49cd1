"""How far the API server's clock is ahead of this machine's, as the `Date` of its answers tells.

A `Date` has whole seconds: an answer that says `d` was made between `d` and `d + 1` by its clock, and between sending
and receiving by this one, so that the offset lies between `d - received` and `d + 1 - sent`. Each answer narrows that,
until a clock is set and one contradicts it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import structlog

_TOLD = 2.0
"""Seconds from which on the difference is told, and again when it has changed by as much."""


class ClockSkew:
    """Narrowed with each answer. `low` and `high` are seconds."""

    def __init__(self) -> None:
        self.low, self.high = -math.inf, math.inf
        self._told = 0.0
        self._log = structlog.get_logger()

    @property
    def ahead(self) -> float:
        """By how many seconds its clock is ahead, at most; 0 where it may not differ at all."""
        return 0.0 if self.low <= 0.0 <= self.high else self.high

    def note(self, headers: Mapping[str, str], sent: float, received: float) -> None:
        """Take in an answer; `sent` and `received` are seconds since the epoch by this machine's clock."""
        try:
            found = parsedate_to_datetime(headers.get("Date", ""))
        except ValueError:
            return
        stamp = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
        low, high = stamp - received, stamp + 1.0 - sent
        contradicts = low > self.high or high < self.low
        self.low, self.high = (low, high) if contradicts else (max(low, self.low), min(high, self.high))
        if abs(self.ahead - self._told) >= _TOLD:
            self._told = self.ahead
            detail = "rollouts are dated by the guard's clock; set both by the same source of time"
            self._log.warning("api.clock_skewed", seconds_ahead=round(self.ahead, 1), detail=detail)
