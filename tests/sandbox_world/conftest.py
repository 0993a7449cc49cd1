from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from logcaster_guard.sandbox.client import Client
from tests.sandbox_world.stub import StubApi


@pytest.fixture
async def api() -> AsyncIterator[StubApi]:
    async with StubApi() as stub:
        yield stub


@pytest.fixture
async def client(api: StubApi) -> AsyncIterator[Client]:
    client = Client(api.url, "token")
    yield client
    await client.aclose()
