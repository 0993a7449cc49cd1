"""A new holder's mark on every object that an open run may touch, so that nothing sent before it can take hold.

Each write of a run names the resourceVersion that it was decided on. What a holder that was cut off or stopped had
sent, and arrives late, was decided on a version from before its lease ended; the mark makes a newer one. A late create
finds its name taken, or is swept away; a late delete names a uid.
"""

from __future__ import annotations

from collections.abc import Iterable

from logcaster_guard.domain.errors import Conflict, NotFound, Rejected
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import CreateHelper, PinAutoscaler, RaiseAutoscalerMinimum, SwitchService
from logcaster_guard.ports import Cluster, Json, Kind

EPOCH = "guard.logcaster.io/epoch"

Place = tuple[Kind, str, str]

_HELD = {"autoscaler_minimum": Kind.AUTOSCALER, "autoscaler_bounds": Kind.AUTOSCALER, "selector": Kind.SERVICE}
_TRIES = 50


def touched_by(run: Run) -> frozenset[Place]:
    """The objects that the run may still change, as (kind, namespace, name)."""
    plan = run.opened.plan
    workload = Kind(plan.kind)
    found = {(workload, plan.deployment)}
    if plan.live:
        found.add((workload, plan.live))
    for step in plan.steps:
        match step:
            case CreateHelper(helper=name):
                found.add((Kind.DEPLOYMENT, name))
            case RaiseAutoscalerMinimum(autoscaler=name) | PinAutoscaler(autoscaler=name):
                found.add((Kind.AUTOSCALER, name))
            case SwitchService() if plan.service:
                found.add((Kind.SERVICE, plan.service))
            case _:
                pass
    found |= {(_HELD.get(hold.kind, workload), hold.object) for hold in run.holds.values()}
    return frozenset((kind, plan.namespace, name) for kind, name in found if name)


async def stamp(cluster: Cluster, runs: Iterable[Run], value: str) -> None:
    """Mark the objects of these runs with `value`, which nobody ever wrote before. Raises the `ClusterError` it met."""
    for kind, namespace, name in sorted(frozenset().union(*(touched_by(run) for run in runs))):
        await _stamp_one(cluster, (kind, namespace, name), value)


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
