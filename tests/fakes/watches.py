"""Watches of the cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from logcaster_guard.ports import Change, Clock, Json, Kind, Listing, WatchEvent
from tests.fakes.cluster import FakeCluster


class FakeWatches:
    """Implements `ports.Watches`. Nothing is missed, so that there is one list, and the changes since."""

    def __init__(self, cluster: FakeCluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def watch(self, kind: Kind, namespace: str, name: str = "") -> AsyncGenerator[WatchEvent, None]:
        changes: asyncio.Queue[Change] = asyncio.Queue()

        def wanted(item: Json) -> bool:
            return name in {"", item["metadata"]["name"]}

        def changed(of: Kind, item: Json, deleted: bool) -> None:
            if of is kind and wanted(item):
                changes.put_nowait(Change(item, item["metadata"]["resourceVersion"], deleted))

        items = await self._cluster.list(kind, namespace)
        self._cluster.on_change.append(changed)
        try:
            yield Listing(tuple(filter(wanted, items)), self._cluster.version, self._clock.monotonic())
            while True:
                yield await changes.get()
        finally:
            self._cluster.on_change.remove(changed)
