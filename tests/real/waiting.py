"""Waiting for what the outside shows, with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PERIOD = 0.05


async def until(look: Callable[[], Awaitable[T]], within: float = 30.0) -> T:
    """What `look` returns once that is true in the sense of `bool`; raises `TimeoutError` after `within` seconds."""
    async with asyncio.timeout(within):
        while not (seen := await look()):  # noqa: ASYNC110 # another process changes it, and it tells nobody
            await asyncio.sleep(PERIOD)
        return seen
