"""Saves what a run may touch before it is touched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Blobs, Cluster, Json, Kind


async def take(cluster: Cluster, target: Target, workload: Workload, blobs: Blobs, now: datetime) -> str:
    """The digest of the saved manifests: workload, other environments, Service, autoscalers, disruption budgets.

    Secrets are never read. Raises the `ClusterError` it met.
    """
    manifests = [workload.raw]
    for name in sorted(set(target.environments.values()) - {workload.name}):
        manifests += await _found(cluster, Kind.DEPLOYMENT, target.namespace, name)
    if target.service is not None:
        manifests += await _found(cluster, Kind.SERVICE, target.namespace, target.service)
    for kind in (Kind.AUTOSCALER, Kind.DISRUPTION_BUDGET):
        # The API server leaves the kind out of a list's items.
        manifests += [{**item, "kind": str(kind)} for item in await cluster.list(kind, target.namespace)]
    return await blobs.put(Snapshot(now, target.key, tuple(manifests)).to_bytes())


async def _found(cluster: Cluster, kind: Kind, namespace: str, name: str) -> Sequence[Json]:
    try:
        return [await cluster.get(kind, namespace, name)]
    except NotFound:
        return []
