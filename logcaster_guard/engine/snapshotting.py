"""Saves what a run may touch, and the configuration that its pods read, before it is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from logcaster_guard import saved_snapshots
from logcaster_guard.domain import rights
from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.configuration.followed import never_followed
from logcaster_guard.domain.configuration.manifests import manifest_of
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject, objects_of, references_of
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable, NotFound, Rejected
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.snapshots import NEVER_READ, Omission, SavedSecret, Snapshot, lasting
from logcaster_guard.domain.workload import Workload
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock, Json, Kind, Reads

FORBIDDEN = 403
WORKLOADS = frozenset(rights.KIND_ROLES)


class Snapshotter:
    """Takes the snapshots of one target. What it may not read is told once, not with each of them."""

    def __init__(self, target: Target, cluster: Reads, manifests: KeptManifests, clock: Clock) -> None:
        self._target = target
        self._cluster = cluster
        self._manifests = manifests
        self._clock = clock
        self._told: frozenset[Omission] = frozenset()
        self._log = structlog.get_logger().bind(target=target.key)

    async def take(self, workload: Workload) -> str:
        """The name of a new snapshot; see `taken`. Raises the `ClusterError` and `JournalUnavailable` it met."""
        snapshot = await taken(self._target, workload, self._cluster, self._manifests, self._clock.now())
        self._tell(snapshot.unread)
        return await saved_snapshots.save(self._manifests.blobs, snapshot)

    def _tell(self, unread: Iterable[Omission]) -> None:
        for omission in sorted(set(unread) - self._told, key=str):
            self._log.warning("snapshot.incomplete", left_out=str(omission), detail=omission.detail)
        self._told = frozenset(unread)


async def taken(
    target: Target, workload: Workload, cluster: Reads, kept: KeptManifests, now: datetime
) -> Snapshot:  # fmt: skip
    """A snapshot: workload, other environments, Service, autoscalers, disruption budgets, ConfigMaps and Secrets.

    What a Secret holds is kept at once, in its own store. What may not be read is left out, and named in it. Raises the
    `ClusterError` it met.
    """
    reading = _Reading(cluster, target.namespace, [{**workload.raw, "kind": workload.kind}])
    for name in sorted(set(target.environments.values()) - {workload.name}):
        await reading.get(Kind.DEPLOYMENT, name)
    if target.service is not None:
        await reading.get(Kind.SERVICE, target.service)
    for kind in (Kind.AUTOSCALER, Kind.DISRUPTION_BUDGET):
        await reading.list(kind)
    found = await asyncio.gather(*(_kept(cluster, kept, o) for o in sorted(referred(reading.manifests))))
    config_maps = [f for f in found if isinstance(f, dict)]
    left_out = [f for f in found if isinstance(f, Omission)]
    return Snapshot(
        now,
        target.key,
        (*map(lasting, reading.manifests), *config_maps),
        (*reading.omissions, *left_out),
        tuple(f for f in found if isinstance(f, SavedSecret)),
    )


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


async def read_now(cluster: Reads, one: ConfigObject) -> Json | Omission:
    """A ConfigMap or Secret as it is now. No failure of the API server ends it: what could not be read is left out."""
    place = (str(one.kind), one.namespace, one.name)
    try:
        manifest = await cluster.get(Kind(one.kind), one.namespace, one.name)
    except NotFound:
        return Omission(*place, NoContent.ABSENT)
    except ClusterError as error:
        if error.status == FORBIDDEN:
            right = rights.to_read_configuration(one)
            return Omission(*place, NoContent.UNREADABLE, english().text(right.missing("no snapshot holds it")))
        return Omission(*place, NoContent.UNREADABLE, str(error))
    return {**manifest, "kind": str(one.kind)}


async def _kept(cluster: Reads, kept: KeptManifests, one: ConfigObject) -> Json | SavedSecret | Omission:
    """A ConfigMap, or where what a Secret holds is kept from now on."""
    place = (str(one.kind), one.namespace, one.name)
    if not kept.keeps(one.kind):
        return Omission(*place, NoContent.UNREADABLE, NEVER_READ)
    found = await read_now(cluster, one)
    if isinstance(found, Omission) or one.kind is not ConfigKind.SECRET:
        return found
    never = never_followed(one.kind, found)
    if never is not None:
        return Omission(*place, NoContent.UNREADABLE, english().text(never))
    try:
        return SavedSecret(one.namespace, one.name, await kept.put(one, manifest_of(one.kind, found)))
    except (ClusterError, JournalUnavailable) as error:
        return Omission(*place, NoContent.UNREADABLE, english().text(error.reason))
