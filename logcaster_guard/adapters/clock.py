"""The machine's clocks behind the `Clock` port."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Real time: `time.monotonic` for durations, the wall clock in UTC for instants."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def now(self) -> datetime:
        """The UTC-aware wall-clock instant."""
        return datetime.now(UTC)

    async def sleep_until(self, at: float) -> None:
        """Return at monotonic second `at`, at once if it has passed."""
        # An event loop may wake a sleeper a tick of its clock early.
        while (left := at - time.monotonic()) > 0:  # noqa: ASYNC110 - waits for an instant, which no Event tells
            await asyncio.sleep(left)
