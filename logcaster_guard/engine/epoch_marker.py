"""A new holder's mark on every object that an open run may touch, so that nothing sent before it can take hold.

Each write of a run names the resourceVersion that it was decided on. What a holder that was cut off or stopped had
sent, and arrives late, was decided on a version from before its lease ended; the mark makes a newer one. A late create
finds its name taken, or is swept away; a late delete names a uid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from logcaster_guard.domain.compensations import CompensationKind
from logcaster_guard.domain.errors import Conflict, GuardError, NotFound, Rejected
from logcaster_guard.domain.guard_reasons import NobodyMarks
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Compensation, ObjectReference, Plan
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Cluster, Json, Kind

EPOCH = "guard.logcaster.io/epoch"

_TRIES = 50


def touched_by(run: Run, kinds: Mapping[str, CompensationKind]) -> frozenset[ObjectReference]:
    """The objects that the run may still change, in the cluster or outside; `kinds` is what runs borrow."""
    plan = run.opened.plan
    found = frozenset(plan.object(plan.kind, name) for name in (plan.deployment, plan.live) if name)
    found |= {touched for step in plan.steps for touched in step.touches(plan)}
    return found | compensated_on(plan, run.compensations.values(), kinds)


def compensated_on(
    plan: Plan, compensations: Iterable[Compensation], kinds: Mapping[str, CompensationKind]
) -> frozenset[ObjectReference]:
    """The objects that giving back what a run of this plan has borrowed changes."""
    return frozenset(touched for owed in compensations for touched in kinds[owed.kind].touches(plan, owed))


class EpochMarker(Protocol):
    """Marks the objects of one system; raises the `ClusterError` it met."""

    async def __call__(self, place: ObjectReference, value: str) -> None:
        """Write `value`, which was never used before, so that older decisions on the object are stale."""


async def stamp(markers: Mapping[str, EpochMarker], places: Iterable[ObjectReference], value: str) -> None:
    """Mark these objects, each by the marker of its system. Raises the `ClusterError` it met.

    A system that nobody can mark is a `GuardError`: a run whose objects are not fenced must not go on.
    """
    for place in sorted(set(places), key=str):
        if place.system not in markers:
            raise failure(GuardError, NobodyMarks(place.system, f"{place.kind} {place.name}"))
        await markers[place.system](place, value)


def cluster_marker(cluster: Cluster) -> EpochMarker:
    """The marker of objects in the cluster."""

    async def mark(place: ObjectReference, value: str) -> None:
        await _stamp_one(cluster, (Kind(place.kind), place.namespace, place.name), value)

    return mark


async def _stamp_one(cluster: Cluster, place: tuple[Kind, str, str], value: str) -> None:
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
