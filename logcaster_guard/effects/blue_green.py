"""What a blue-green rollback needs: its handlers and lenders, and the objects that its plan rests on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from logcaster_guard.domain.errors import BlobMissing, NotFound
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import BlueGreenPolicy
from logcaster_guard.domain.signals import Target, Value
from logcaster_guard.domain.snapshots import Snapshot, SnapshotUnreadable
from logcaster_guard.domain.steps import (
    AwaitEndpoints,
    AwaitEnvironment,
    CheckEnvironment,
    JudgeEnvironment,
    RestoreEnvironment,
    ScaleEnvironment,
    Step,
    SwitchService,
)
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.environment import (
    AwaitEnvironmentHandler,
    CheckEnvironmentHandler,
    RestoreEnvironmentHandler,
    ScaleEnvironmentHandler,
)
from logcaster_guard.effects.inspection import Checker, Inspector
from logcaster_guard.effects.switching import AwaitEndpointsHandler, JudgeEnvironmentHandler, SwitchServiceHandler
from logcaster_guard.effects.workload import Handler, Lender
from logcaster_guard.ports import Blobs, Clock, Cluster, Json, Kind
from logcaster_guard.strategies.blue_green import Environments, other_of


def registry(
    cluster: Cluster, blobs: Blobs, clock: Clock, inspector: Inspector, checker: Checker
) -> tuple[dict[type[Step], Handler], dict[str, Lender]]:
    """The handlers of a blue-green rollback by step type, and the lenders by kind of hold."""
    made, size = RestoreEnvironmentHandler(cluster, blobs), ScaleEnvironmentHandler(cluster)
    switch = SwitchServiceHandler(cluster)
    handlers: dict[type[Step], Handler] = {
        RestoreEnvironment: made,
        ScaleEnvironment: size,
        AwaitEnvironment: AwaitEnvironmentHandler(cluster, clock),
        CheckEnvironment: CheckEnvironmentHandler(cluster, checker),
        SwitchService: switch,
        AwaitEndpoints: AwaitEndpointsHandler(cluster),
        JudgeEnvironment: JudgeEnvironmentHandler(cluster, clock, inspector),
    }
    return handlers, {"environment": made, "environment_size": size, "selector": switch}


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
