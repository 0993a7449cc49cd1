"""What a gradual rollback needs: its handlers and lenders, and the objects that its plan rests on."""

from __future__ import annotations

from collections.abc import Mapping

from logcaster_guard.domain.capacity import helper_name
from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import (
    AwaitHelper,
    CreateHelper,
    JudgeHelper,
    PinAutoscaler,
    RemoveHelper,
    ScaleHelper,
    ScaleProduction,
    Step,
)
from logcaster_guard.effects.helper_deployment import (
    AwaitHelperHandler,
    CreateHelperHandler,
    RemoveHelperHandler,
    ScaleHelperHandler,
)
from logcaster_guard.effects.inspection import Inspector
from logcaster_guard.effects.judging import JudgeHelperHandler
from logcaster_guard.effects.sizing import PinAutoscalerHandler, ScaleProductionHandler
from logcaster_guard.effects.workload import Handler, Lender
from logcaster_guard.ports import Blobs, Clock, Cluster, Json, Kind
from logcaster_guard.strategies.gradual import Surroundings


def registry(
    cluster: Cluster, blobs: Blobs, clock: Clock, inspector: Inspector
) -> tuple[dict[type[Step], Handler], dict[str, Lender]]:
    """The handlers of a gradual rollback by step type, and the lenders by kind of hold."""
    scale, pin, remove = ScaleProductionHandler(cluster), PinAutoscalerHandler(cluster), RemoveHelperHandler(cluster)
    handlers: dict[type[Step], Handler] = {
        CreateHelper: CreateHelperHandler(cluster, blobs),
        ScaleHelper: ScaleHelperHandler(cluster),
        AwaitHelper: AwaitHelperHandler(cluster, clock),
        ScaleProduction: scale,
        PinAutoscaler: pin,
        JudgeHelper: JudgeHelperHandler(cluster, clock, inspector),
        RemoveHelper: remove,
    }
    return handlers, {"replicas": scale, "autoscaler_bounds": pin, "helper": remove}


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
