"""Saves what a run may touch, and the configuration that its pods read, before it is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from logcaster_guard import saved_snapshots
from logcaster_guard.domain import rights
from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject, objects_of, references_of
from logcaster_guard.domain.errors import ClusterError, NotFound, Rejected
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.snapshots import Omission, Snapshot, lasting
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Blobs, Clock, Json, Kind, Reads

FORBIDDEN = 403
NEVER_READ = "no snapshot holds what a Secret holds"
WORKLOADS = frozenset(rights.KIND_ROLES)


class Snapshotter:
    """Takes the snapshots of one target. What it may not read is told once, not with each of them."""

    def __init__(self, target: Target, cluster: Reads, blobs: Blobs, clock: Clock) -> None:
        self._target = target
        self._cluster = cluster
        self._blobs = blobs
        self._clock = clock
        self._told: frozenset[Omission] = frozenset()
        self._log = structlog.get_logger().bind(target=target.key)

    async def take(self, workload: Workload) -> str:
        """The name of a new snapshot; see `taken`. Raises the `ClusterError` and `JournalUnavailable` it met."""
        snapshot = await taken(self._target, workload, self._cluster, self._clock.now())
        self._tell(snapshot.unread)
        return await saved_snapshots.save(self._blobs, snapshot)

    def _tell(self, unread: Iterable[Omission]) -> None:
        for omission in sorted(set(unread) - self._told, key=str):
            self._log.warning("snapshot.incomplete", left_out=str(omission), detail=omission.detail)
        self._told = frozenset(unread)


async def taken(target: Target, workload: Workload, cluster: Reads, now: datetime) -> Snapshot:
    """A snapshot: workload, other environments, Service, autoscalers, disruption budgets, and their ConfigMaps.

    What may not be read is left out, and named in it. Raises the `ClusterError` it met.
    """
    reading = _Reading(cluster, target.namespace, [{**workload.raw, "kind": workload.kind}])
    for name in sorted(set(target.environments.values()) - {workload.name}):
        await reading.get(Kind.DEPLOYMENT, name)
    if target.service is not None:
        await reading.get(Kind.SERVICE, target.service)
    for kind in (Kind.AUTOSCALER, Kind.DISRUPTION_BUDGET):
        await reading.list(kind)
    config_maps, left_out = await configuration(cluster, referred(reading.manifests))
    manifests = (*map(lasting, reading.manifests), *config_maps)
    return Snapshot(now, target.key, manifests, (*reading.omissions, *left_out))


@dataclass(slots=True)
class _Reading:
    """What was found in a namespace, and what was not."""

    cluster: Reads
    namespace: str
    manifests: list[Json]
    omissions: list[Omission] = field(default_factory=list)

    async def get(self, kind: Kind, name: str) -> None:
        """Look at one object."""
        try:
            self.manifests.append(await self.cluster.get(kind, self.namespace, name))
        except NotFound:
            self.omissions.append(Omission(kind, self.namespace, name, NoContent.ABSENT))
        except Rejected as error:
            self._refused(kind, name, error)

    async def list(self, kind: Kind) -> None:
        """Look at all objects of a kind."""
        try:
            items = await self.cluster.list(kind, self.namespace)
        except Rejected as error:
            self._refused(kind, "", error)
        else:
            # The API server leaves the kind out of a list's items.
            self.manifests += [{**item, "kind": str(kind)} for item in items]

    def _refused(self, kind: Kind, name: str, error: Rejected) -> None:
        if error.status != FORBIDDEN:
            raise error
        self.omissions.append(Omission(kind, self.namespace, name, NoContent.UNREADABLE, str(error)))


def referred(manifests: Iterable[Json]) -> frozenset[ConfigObject]:
    """The ConfigMaps and Secrets that the pod templates of these workloads refer to."""
    return frozenset(
        found
        for manifest in manifests
        if manifest.get("kind") in WORKLOADS
        for found in objects_of(
            references_of(manifest["spec"]["template"], str(manifest["metadata"]["namespace"]))
        )
    )  # fmt: skip


async def configuration(
    cluster: Reads, objects: Iterable[ConfigObject]
) -> tuple[Sequence[Json], Sequence[Omission]]:  # fmt: skip
    """The ConfigMaps among these objects as they are now, and what of them is left out.

    No failure of the API server ends it: what could not be read is left out.
    """
    found = await asyncio.gather(*(_read(cluster, o) for o in sorted(objects)))
    return [f for f in found if not isinstance(f, Omission)], [f for f in found if isinstance(f, Omission)]


async def _read(cluster: Reads, found: ConfigObject) -> Json | Omission:
    place = (str(found.kind), found.namespace, found.name)
    if found.kind is ConfigKind.SECRET:
        return Omission(*place, NoContent.UNREADABLE, NEVER_READ)
    try:
        manifest = await cluster.get(Kind.CONFIG_MAP, found.namespace, found.name)
    except NotFound:
        return Omission(*place, NoContent.ABSENT)
    except ClusterError as error:
        if error.status == FORBIDDEN:
            right = rights.to_read_configuration(found)
            return Omission(*place, NoContent.UNREADABLE, english().text(right.missing("no snapshot holds it")))
        return Omission(*place, NoContent.UNREADABLE, str(error))
    return {**manifest, "kind": str(found.kind)}
