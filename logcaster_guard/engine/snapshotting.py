"""Saves what a run may touch, and the configuration that its pods read, before it is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from logcaster_guard import saved_snapshots
from logcaster_guard.domain import rights
from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject, objects_of, references_of
from logcaster_guard.domain.errors import ClusterError, NotFound, Rejected
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.snapshots import Omission, Snapshot, lasting
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Blobs, Clock, Json, Kind, Reads

FORBIDDEN = 403
NEVER_READ = "the guard reads no Secret of a target"


@dataclass(slots=True)
class _Findings:
    manifests: list[Json] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)


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
        """The name of a new snapshot: workload, other environments, Service, autoscalers, budgets, ConfigMaps.

        What may not be read is left out, and named in it. Raises the `ClusterError` and `JournalUnavailable` it met.
        """
        found = await self._environments(workload)
        await self._note_objects(found, Kind.SERVICE, [self._target.service] if self._target.service else [])
        for kind in (Kind.AUTOSCALER, Kind.DISRUPTION_BUDGET):
            await self._note_all(found, kind)
        manifests, missing = await configuration(self._cluster, found.manifests)
        snapshot = Snapshot(
            self._clock.now(),
            self._target.key,
            (*map(lasting, found.manifests), *manifests),
            (*found.omissions, *missing),
        )
        self._tell(snapshot.omissions)
        return await saved_snapshots.save(self._blobs, snapshot)

    async def _environments(self, workload: Workload) -> _Findings:
        found = _Findings([workload.raw])
        await self._note_objects(
            found, Kind.DEPLOYMENT, sorted(set(self._target.environments.values()) - {workload.name})
        )
        return found

    async def _note_objects(self, found: _Findings, kind: Kind, names: Iterable[str]) -> None:
        for name in names:
            try:
                found.manifests.append(await self._cluster.get(kind, self._target.namespace, name))
            except NotFound:
                found.omissions.append(Omission(kind, self._target.namespace, name, NoContent.ABSENT))
            except Rejected as error:
                found.omissions.append(_refused(kind, self._target.namespace, name, error))

    async def _note_all(self, found: _Findings, kind: Kind) -> None:
        try:
            items = await self._cluster.list(kind, self._target.namespace)
        except Rejected as error:
            found.omissions.append(_refused(kind, self._target.namespace, "", error))
        else:
            # The API server leaves the kind out of a list's items.
            found.manifests += [{**item, "kind": str(kind)} for item in items]

    def _tell(self, omissions: Iterable[Omission]) -> None:
        unread = {o for o in omissions if o.reason is NoContent.UNREADABLE and o.kind != ConfigKind.SECRET}
        for omission in sorted(unread - self._told, key=str):
            self._log.warning("snapshot.incomplete", left_out=str(omission), detail=omission.detail)
        self._told = frozenset(unread)


async def configuration(cluster: Reads, manifests: Iterable[Json]) -> tuple[Sequence[Json], Sequence[Omission]]:
    """The ConfigMaps that the pod templates of these workloads refer to, as they are now, and what is left out.

    No failure of the API server ends it: what could not be read is left out.
    """
    objects = sorted({o for m in manifests for o in _referred(m)})
    found = await asyncio.gather(*(_read(cluster, o) for o in objects))
    return [f for f in found if not isinstance(f, Omission)], [f for f in found if isinstance(f, Omission)]


def _referred(manifest: Json) -> Iterable[ConfigObject]:
    template = (manifest.get("spec") or {}).get("template")
    return objects_of(references_of(template, str(manifest["metadata"]["namespace"]))) if template else ()


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
            right = rights.to_read_configuration(found.namespace, found.name)
            return Omission(*place, NoContent.UNREADABLE, right.missing("no snapshot holds it"))
        return Omission(*place, NoContent.UNREADABLE, str(error))
    return {**manifest, "kind": str(found.kind)}


def _refused(kind: Kind, namespace: str, name: str, error: Rejected) -> Omission:
    """What is left out of a snapshot because it may not be read; raises the error where that is not why."""
    if error.status != FORBIDDEN:
        raise error
    return Omission(kind, namespace, name, NoContent.UNREADABLE, str(error))
