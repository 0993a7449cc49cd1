"""The loop that keeps a part of the sandbox level with the API: look, act on what is there, wait, look again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from logcaster_guard.sandbox.client import ApiFailure

MOST_BACK_OFF = 5.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("logcaster_guard.sandbox")


async def level(what: str, look: Callable[[], Awaitable[None]], period: float) -> None:
    """Call `look` every `period` seconds until cancelled; failures are logged and met with a jittered back-off.

    Nothing that `look` raises ends the loop: it starts from what the API shows the next time, so it need not remember
    how far it came.
    """
    failures = 0
    while True:
        pause = period
        try:
            await look()
            failures = 0
        except ApiFailure as failure:
            failures += 1
            pause = _back_off(period, failures)
            log.warning("sandbox.api_failed", what=what, failures=failures, error=str(failure))
        except Exception:
            failures += 1
            pause = _back_off(period, failures)
            log.exception("sandbox.defect", what=what, failures=failures)
        await asyncio.sleep(pause)


def _back_off(period: float, failures: int) -> float:
    longest = min(MOST_BACK_OFF, period * 2.0 ** min(failures, 10))
    return longest * (0.5 + random.random() / 2)  # noqa: S311 # spreads retries, guards nothing
