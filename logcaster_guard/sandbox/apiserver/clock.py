"""Time as the API server and its controllers see it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Durations on a monotonic clock in seconds, instants in UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def now(self) -> datetime:
        """The UTC-aware wall-clock instant."""

    async def sleep_until(self, at: float) -> None:
        """Return at monotonic second `at`, at once if it has passed."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def now(self) -> datetime:
        """The present UTC instant."""
        return datetime.now(UTC)

    async def sleep_until(self, at: float) -> None:
        """Sleep until monotonic second `at`."""
        await asyncio.sleep(max(0.0, at - time.monotonic()))


def stamp(at: datetime) -> str:
    """RFC 3339 with whole seconds, as `metav1.Time` is written."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(at: datetime) -> str:
    """RFC 3339 with microseconds, as `metav1.MicroTime` is written."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def instant(text: str | None) -> datetime | None:
    """The UTC instant of an RFC 3339 text; None for no or unreadable text."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
