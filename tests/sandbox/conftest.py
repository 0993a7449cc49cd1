from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from logcaster_guard.sandbox.apiserver import ApiServer


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once `holds` does; fail after ten seconds."""
    for _ in range(2_000):
        if await holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{holds.__qualname__} did not come true")


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as running:
        yield running


@pytest.fixture
async def http(server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=10) as client:
        yield client
