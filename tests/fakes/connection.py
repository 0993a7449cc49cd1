"""The outside as a process reaches it, until the process is killed: the ports of a guard over one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from logcaster_guard.domain.events import Event
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.notices import Delivery, Notice
from logcaster_guard.domain.signals import History, Signal, Target
from logcaster_guard.ports import Answer, Channel, Cluster, Entry, Journal, JournalSize, Json, Kind, Request, Source

T = TypeVar("T")


class Connection:
    """What a process reaches the outside by: once it is cut, nothing goes through and nothing comes back.

    `writes_left` cuts it at a write to the cluster or the journal, which then has its effect or (`in_vain`) has not.
    """

    def __init__(self) -> None:
        self.cut = False
        self.writes_left: int | None = None
        self.in_vain = False

    async def read(self, call: Callable[[], Awaitable[T]]) -> T:
        if self.cut:
            await self._never()
        return await call()

    async def write(self, call: Callable[[], Awaitable[T]]) -> T:
        if self.cut:
            await self._never()
        if self.writes_left is not None:
            self.writes_left -= 1
            self.cut = self.writes_left < 0
        if self.cut and self.in_vain:
            await self._never()
        result = await call()
        if self.cut:
            await self._never()
        return result

    async def _never(self) -> None:
        await asyncio.get_running_loop().create_future()


class ConnectedCluster:
    """Implements `ports.Cluster` over a line."""

    def __init__(self, line: Connection, cluster: Cluster) -> None:
        self._line, self._cluster = line, cluster

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        return await self._line.read(lambda: self._cluster.get(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        return await self._line.read(lambda: self._cluster.list(kind, namespace, selector))

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        return await self._line.write(
            lambda: self._cluster.json_patch(kind, namespace, name, operations, manager=manager)
        )

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        raise NotImplementedError

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        return await self._line.write(lambda: self._cluster.create(kind, namespace, body))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        await self._line.write(
            lambda: self._cluster.delete(kind, namespace, name, uid=uid, resource_version=resource_version)
        )

    def ahead(self) -> float:
        return self._cluster.ahead()

    async def aclose(self) -> None:
        pass


class ConnectedJournal:
    """Implements `ports.Journal` over a line."""

    def __init__(self, line: Connection, journal: Journal) -> None:
        self._line, self._journal = line, journal

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        return await self._line.write(lambda: self._journal.append(stream, events, expected_seq))

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        return await self._line.read(lambda: self._journal.read(stream, after))

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        return await self._line.read(lambda: self._journal.read_all(prefix))

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        await self._line.write(lambda: self._journal.compact(superfluous))

    async def size(self) -> JournalSize:
        return await self._line.read(self._journal.size)

    async def aclose(self) -> None:
        pass


class ConnectedSource:
    """Implements `ports.Source` over a line."""

    def __init__(self, line: Connection, source: Source) -> None:
        self._line, self._source = line, source
        self.name = source.name

    async def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        await self._line.read(lambda: asyncio.sleep(0))
        async for answer in self._source.read(requests):
            yield answer

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        return await self._line.read(lambda: self._source.history(target, signal, start, end, step))

    async def aclose(self) -> None:
        pass


class ConnectedInbox:
    """Implements `ports.Channel` over a line."""

    def __init__(self, line: Connection, inbox: Channel) -> None:
        self._line, self._inbox = line, inbox
        self.name = inbox.name

    async def deliver(self, notice: Notice) -> Delivery:
        return await self._line.read(lambda: self._inbox.deliver(notice))

    async def aclose(self) -> None:
        pass
