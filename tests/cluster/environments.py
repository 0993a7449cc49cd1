"""Two environments that take turns behind a Service: the bad release is live, the good one waits in the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.world import World
from tests.real.waiting import until

BLUE, GREEN = objects.ENVIRONMENTS[objects.BLUE], objects.ENVIRONMENTS[objects.GREEN]
IDLE = 1
"""Pods of the environment that is not live, fewer than it needs to take over."""


@dataclass(frozen=True)
class Installed:
    """The good and the bad Deployment as they were live, since when the latter is, and what was saved of the former.

    `read` is what the former's pods read.
    """

    good: Json
    bad: Json
    changed: datetime
    snapshot: Snapshot
    read: Sequence[Json]


@dataclass(frozen=True)
class Reading:
    """ConfigMaps and Secrets that both environments read: `begin` makes them, `edit` is done with the bad release."""

    begin: Callable[[], Awaitable[Sequence[Json]]]
    edit: Callable[[], Awaitable[None]]


async def install(
    world: World,
    good: str,
    bad: str,
    *,
    replicas: int,
    within: float,
    missing: bool = False,
    reading: Reading | None = None,
) -> Installed:
    """Blue with the good release was live; then green came with the bad one, and blue was left to idle, or deleted."""
    await world.install_environments(good, replicas=replicas, idle=replicas)
    read = await reading.begin() if reading is not None else []
    before, changed = await world.rolled_out(within, name=BLUE), datetime.now(UTC)
    if reading is not None:
        await world.rolled_out(within, name=GREEN)
        await reading.edit()
    await world.deploy(bad, name=GREEN)
    after = await world.rolled_out(within, name=GREEN)
    await world.switch(objects.GREEN)
    await world.scale(min(IDLE, replicas), name=BLUE)
    await world.rolled_out(within, name=BLUE)
    if missing:
        path = f"/apis/apps/v1/namespaces/{world.namespace}/deployments"

        async def gone() -> bool:
            return [d["metadata"]["name"] for d in await world.client.list(path)] == [GREEN]

        await world.client.delete(f"{path}/{BLUE}")
        await until(gone, within)
    snapshot = Snapshot(changed, f"{world.namespace}/{objects.ACTIVE_SERVICE}", (before,))
    return Installed(before, after, changed, snapshot, read)
