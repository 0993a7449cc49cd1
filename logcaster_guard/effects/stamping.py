"""A new holder's mark on every object that an open run may touch, so that nothing sent before it can take hold.

Each write of a run names the resourceVersion that it was decided on. What a holder that was cut off or stopped had
sent, and arrives late, was decided on a version from before its lease ended; the mark makes a newer one. A late create
finds its name taken, or is swept away; a late delete names a uid.
"""

from __future__ import annotations

from collections.abc import Iterable

from logcaster_guard.domain.errors import Conflict, NotFound, Rejected
from logcaster_guard.domain.gitops import owner_called
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import (
    CreateHelper,
    Hold,
    PinAutoscaler,
    RaiseAutoscalerMinimum,
    SuspendOwner,
    SwitchService,
)
from logcaster_guard.ports import Cluster, Json, Kind

EPOCH = "guard.logcaster.io/epoch"

Place = tuple[Kind, str, str]

_HELD = {"autoscaler_minimum": Kind.AUTOSCALER, "autoscaler_bounds": Kind.AUTOSCALER, "selector": Kind.SERVICE}
_TRIES = 50


def touched_by(run: Run) -> frozenset[Place]:
    """The objects that the run may still change, as (kind, namespace, name)."""
    plan = run.opened.plan
    workload = Kind(plan.kind)
    found, owners = {(workload, plan.deployment)}, set()
    if plan.live:
        found.add((workload, plan.live))
    for step in plan.steps:
        match step:
            case CreateHelper(helper=name):
                found.add((Kind.DEPLOYMENT, name))
            case RaiseAutoscalerMinimum(autoscaler=name) | PinAutoscaler(autoscaler=name):
                found.add((Kind.AUTOSCALER, name))
            case SuspendOwner(owner=owner):
                owners.add(owner)
            case SwitchService() if plan.service:
                found.add((Kind.SERVICE, plan.service))
            case _:
                pass
    owners |= {hold.object for hold in run.holds.values() if hold.kind == "gitops_owner"}
    borrowed = (hold for hold in run.holds.values() if hold.kind != "gitops_owner")
    found |= {(_HELD.get(hold.kind, workload), hold.object) for hold in borrowed}
    return frozenset((kind, plan.namespace, name) for kind, name in found if name) | _owners(owners)


def kept_suspended(holds: Iterable[Hold]) -> frozenset[Place]:
    """The GitOps owners that these holds keep suspended after their runs."""
    return _owners(hold.object for hold in holds)


async def stamp(cluster: Cluster, places: Iterable[Place], value: str) -> None:
    """Mark these objects with `value`, which nobody ever wrote before. Raises the `ClusterError` it met."""
    for place in sorted(set(places)):
        await _stamp_one(cluster, place, value)


def _owners(names: Iterable[str]) -> frozenset[Place]:
    found = (owner_called(name) for name in names)
    return frozenset((Kind(o.kind), o.namespace, o.name) for o in found if o is not None)


async def _stamp_one(cluster: Cluster, place: Place, value: str) -> None:
    for left in reversed(range(_TRIES)):
        try:
            metadata = (await cluster.get(*place))["metadata"]
            annotations = {**(metadata.get("annotations") or {}), EPOCH: value}
            patch: list[Json] = [
                {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
                {"op": "add", "path": "/metadata/annotations", "value": annotations},
            ]
            await cluster.json_patch(*place, patch)
        except NotFound:
            return
        except Rejected as error:
            # What the guard's account may not write, no guard has written.
            if error.status == 403:
                return
            raise
        except Conflict:
            if not left:
                raise
        else:
            return
