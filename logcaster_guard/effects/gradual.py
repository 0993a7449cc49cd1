"""The objects that a gradual rollback rests on, as they are now."""

from __future__ import annotations

from collections.abc import Mapping

from logcaster_guard.domain.capacity import helper_name
from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.signals import Target
from logcaster_guard.ports import Blobs, Cluster, Json, Kind
from logcaster_guard.rollbacks.gradual import Surroundings


async def gathered(cluster: Cluster, blobs: Blobs, target: Target, destination: Record) -> Surroundings:
    """The objects that the plan rests on, as they are now. Raises `ClusterError` and `BlobMissing`."""
    release = Release.from_bytes(await blobs.get(destination.blob))
    volumes = (release.template.get("spec") or {}).get("volumes") or []
    names = [v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")]
    claims: Mapping[str, Json | None] = {
        name: await _found(cluster, Kind.VOLUME_CLAIM, target.namespace, name) for name in names
    }
    service = None
    if target.service is not None:
        service = await _found(cluster, Kind.SERVICE, target.namespace, target.service)
    return Surroundings(
        service=service,
        autoscalers=await cluster.list(Kind.AUTOSCALER, target.namespace),
        pods=await cluster.list(Kind.POD, target.namespace),
        budgets=list(await cluster.list(Kind.DISRUPTION_BUDGET, target.namespace)),
        claims=claims,
        release=release,
        namesake=await _found(cluster, Kind.DEPLOYMENT, target.namespace, helper_name(target.deployment)),
    )


async def _found(cluster: Cluster, kind: Kind, namespace: str, name: str) -> Json | None:
    try:
        return await cluster.get(kind, namespace, name)
    except NotFound:
        return None
