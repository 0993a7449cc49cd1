from __future__ import annotations

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from logcaster_guard.sandbox import polling
from logcaster_guard.sandbox.client import ApiUnreachable


@pytest.mark.parametrize(
    ("failure", "event"),
    [(ApiUnreachable("away"), "sandbox.api_failed"), (ZeroDivisionError(), "sandbox.defect")],
)
async def test_no_failure_ends_the_loop_and_each_is_logged(
    failure: Exception, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MOST_BACK_OFF", 0.01)
    looks = 0
    again = asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks <= 3:
            raise failure
        again.set()

    with capture_logs() as logged:
        task = asyncio.create_task(polling.level("test", look, 0.001))
        await asyncio.wait_for(again.wait(), 20)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert [(e["event"], e["failures"]) for e in logged] == [(event, 1), (event, 2), (event, 3)]
