"""Watches of the cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.ports import Change, Clock, Interruption, Json, Kind, Listing, WatchEvent
from tests.fakes.cluster import FakeCluster

PAUSE = 60.0


class FakeWatches:
    """Implements `ports.Watches`: a list, and the changes since. Unless some are `missed`, that is all there is.

    Nothing comes through while `hearing` is not set: it comes late then.
    `going` are the objects that are watched now, `begun` counts the watches. Objects with a name in `refused` may not
    be listed, by the error that stands there; they are tried again after `PAUSE` seconds.
    """

    def __init__(self, cluster: FakeCluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self.begun = 0
        self.going: list[str] = []
        self.refused: dict[str, ClusterError] = {}
        self.hearing = asyncio.Event()
        self.hearing.set()
        self._queues: list[asyncio.Queue[Change | None]] = []

    def missed(self) -> None:
        """What has not come through yet does not come any more: each watch lists anew."""
        for queue in self._queues:
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)

    async def watch(self, kind: Kind, namespace: str, name: str = "") -> AsyncGenerator[WatchEvent, None]:
        changes: asyncio.Queue[Change | None] = asyncio.Queue()

        def wanted(item: Json) -> bool:
            return name in {"", item["metadata"]["name"]}

        def changed(of: Kind, item: Json, deleted: bool) -> None:
            if of is kind and wanted(item):
                changes.put_nowait(Change(item, item["metadata"]["resourceVersion"], deleted))

        self.begun += 1
        while name in self.refused:
            yield Interruption(self.refused[name])
            await self._clock.sleep_until(self._clock.monotonic() + PAUSE)
        self._cluster.on_change.append(changed)
        self._queues.append(changes)
        self.going.append(name)
        change: Change | None = None
        try:
            while True:
                if change is None:
                    items = await self._cluster.list(kind, namespace)
                    yield Listing(tuple(filter(wanted, items)), self._cluster.version, self._clock.monotonic())
                else:
                    yield change
                change = await changes.get()
                await self.hearing.wait()
        finally:
            self._cluster.on_change.remove(changed)
            self._queues.remove(changes)
            self.going.remove(name)
