"""The objects that a blue-green rollback rests on, as they are now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from logcaster_guard.domain.errors import BlobMissing, NotFound
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import BlueGreenPolicy
from logcaster_guard.domain.signals import Target, Value
from logcaster_guard.domain.snapshots import Snapshot, SnapshotUnreadable
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Blobs, Cluster, Json, Kind
from logcaster_guard.rollbacks.blue_green import Environments, other_of
from logcaster_guard.steps.services import Inspector


async def gathered(
    cluster: Cluster,
    blobs: Blobs,
    inspector: Inspector,
    *,
    target: Target,
    live: Workload,
    destinations: Iterable[Record],
    policy: BlueGreenPolicy,
) -> Environments:
    """The objects that the plan rests on, as they are now. Raises `ClusterError`."""
    other = other_of(target, live.name)
    service = None if target.service is None else await _found(cluster, Kind.SERVICE, target.namespace, target.service)
    there = None if other is None else await _found(cluster, Kind.DEPLOYMENT, target.namespace, other)
    seen = await inspector(target.key, live.name, policy.window)
    enough = isinstance(seen.requests, Value) and seen.requests.number >= policy.min_requests
    return Environments(
        service=service,
        other=None if there is None else Workload(there),
        autoscalers=await cluster.list(Kind.AUTOSCALER, target.namespace),
        pods=await cluster.list(Kind.POD, target.namespace),
        snapshots={} if there is not None else await _snapshots(blobs, destinations),
        error_rate=seen.error_rate.number if enough and isinstance(seen.error_rate, Value) else None,
        inseparable=seen.inseparable,
    )


async def _snapshots(blobs: Blobs, destinations: Iterable[Record]) -> Mapping[str, Snapshot]:
    found = {}
    for digest in {r.snapshot for r in destinations if r.snapshot}:
        with contextlib.suppress(BlobMissing, SnapshotUnreadable):
            found[digest] = Snapshot.from_bytes(await blobs.get(digest))
    return found


async def _found(cluster: Cluster, kind: Kind, namespace: str, name: str) -> Json | None:
    try:
        return await cluster.get(kind, namespace, name)
    except NotFound:
        return None
