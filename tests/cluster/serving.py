"""How many pods serve while something happens to a scene, counted from outside over and over."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from logcaster_guard.domain import capacity
from logcaster_guard.domain.rules import Action
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import ApiFailure
from tests.cluster.case import REPLICAS
from tests.cluster.scene import Scene

EVERY = 0.02


@dataclass
class Sample:
    """The fewest that served, at how many looks, and what was there at the look that found them."""

    lowest: int = 1_000
    taken: int = 0
    then: list[str] = field(default_factory=list)


async def serving(scene: Scene) -> list[str]:
    """The pods that are Ready, not terminating, and selected by the Service as it is now."""
    base = f"/api/v1/namespaces/{scene.cluster.namespace}"
    service = objects.ACTIVE_SERVICE if scene.case.switches else objects.SERVICE
    api = scene.world.client
    selector = (await api.get(f"{base}/services/{service}"))["spec"]["selector"]
    pods = await api.list(f"{base}/pods")
    return [p["metadata"]["name"] for p in pods if capacity.is_serving(p, selector)]


@contextlib.asynccontextmanager
async def sampled(scene: Scene, every: float = EVERY) -> AsyncIterator[Sample]:
    """Count who serves, over and over. The guard is not asked."""
    sample = Sample()

    async def take() -> None:
        while True:
            with contextlib.suppress(ApiFailure):
                found = await serving(scene)
                sample.taken += 1
                if len(found) < sample.lowest:
                    sample.lowest, sample.then = len(found), found
            await asyncio.sleep(every)

    task = asyncio.create_task(take())
    try:
        yield sample
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def least(scene: Scene) -> int:
    """How many have to serve all the time; an immediate rollback may miss as many as the Deployment itself allows."""
    if scene.case.action in {Action.GRADUAL, Action.BLUE_GREEN}:
        return REPLICAS
    surge = ((await scene.production())["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    return REPLICAS - _amount(surge.get("maxUnavailable", "25%"))


def _amount(value: object) -> int:
    text = str(value)
    return math.floor(REPLICAS * int(text[:-1]) / 100) if text.endswith("%") else int(text)
