"""Ports that ask for authority before each call that changes something.

A request is begun only if its whole time fits into the lease. One that is on its way when the lease is lost is caught
by the resourceVersion that it names, see `engine.epoch_marker`; an append by the seq that it expects.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from logcaster_guard.domain.errors import NoAuthority
from logcaster_guard.domain.events import Event
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.notices import Delivery, Notice, TryLater
from logcaster_guard.engine.leader_elector import LeadershipTerm
from logcaster_guard.ports import Authority, Channel, Cluster, Entry, Journal, JournalSize, Json, Kind


def fenced(
    cluster: Cluster, journal: Journal | None, channels: Sequence[Channel], term: LeadershipTerm | None
) -> tuple[Cluster, Journal | None, Sequence[Channel]]:
    """What a guard may use in this term: no journal and nobody to tell while it stands by; all if it is alone."""
    if term is None:
        return cluster, journal, channels
    if journal is None or term.epoch is None:
        return FencedCluster(cluster, term), None, ()
    return FencedCluster(cluster, term), FencedJournal(journal, term), [FencedChannel(c, term) for c in channels]


class FencedCluster:
    """A `Cluster` whose writes raise `NoAuthority` without authority."""

    def __init__(self, cluster: Cluster, authority: Authority) -> None:
        self._cluster = cluster
        self._authority = authority

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """As the cluster's own."""
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        """As the cluster's own."""
        return await self._cluster.list(kind, namespace, selector)

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        """As the cluster's own."""
        self._authority.check(self._authority.timeout)
        return await self._cluster.json_patch(kind, namespace, name, operations, manager=manager)

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        """As the cluster's own."""
        self._authority.check(self._authority.timeout)
        return await self._cluster.apply(kind, namespace, name, body, manager=manager, force=force)

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        """As the cluster's own."""
        self._authority.check(self._authority.timeout)
        return await self._cluster.create(kind, namespace, body)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        """As the cluster's own."""
        self._authority.check(self._authority.timeout)
        await self._cluster.delete(kind, namespace, name, uid=uid, resource_version=resource_version)

    def ahead(self) -> float:
        """As the cluster's own."""
        return self._cluster.ahead()

    async def aclose(self) -> None:
        """As the cluster's own."""
        await self._cluster.aclose()


class FencedJournal:
    """A `Journal` to which nothing is appended without authority; an append may be a request too."""

    def __init__(self, journal: Journal, authority: Authority) -> None:
        self._journal = journal
        self._authority = authority

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        """As the journal's own."""
        self._authority.check(self._authority.timeout)
        return await self._journal.append(stream, events, expected_seq)

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        """As the journal's own."""
        return await self._journal.read(stream, after)

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        """As the journal's own."""
        return await self._journal.read_all(prefix)

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        """As the journal's own."""
        self._authority.check(self._authority.timeout)
        await self._journal.compact(superfluous)

    async def size(self) -> JournalSize:
        """As the journal's own."""
        return await self._journal.size()

    async def aclose(self) -> None:
        """As the journal's own."""
        await self._journal.aclose()


class FencedChannel:
    """A `Channel` on which only the holder speaks: people are not told everything twice."""

    def __init__(self, channel: Channel, authority: Authority) -> None:
        self._channel = channel
        self._authority = authority

    @property
    def name(self) -> str:
        """As the channel's own."""
        return self._channel.name

    async def deliver(self, notice: Notice) -> Delivery:
        """As the channel's own."""
        try:
            self._authority.check()
        except NoAuthority as error:
            return TryLater(error.reason)
        return await self._channel.deliver(notice)

    async def aclose(self) -> None:
        """As the channel's own."""
        await self._channel.aclose()
