"""Step handlers that change how many pods the target has, and what its autoscalers want of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from logcaster_guard.domain import capacity, field_owners
from logcaster_guard.domain.description import wanted
from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.field_owners import owners_of, written_by
from logcaster_guard.domain.observations import Before, Done, Foreign, Observation, Pending, Unclear
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Hold, PinAutoscaler, ScaleProduction
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.handing_back import FieldOwnership
from logcaster_guard.effects.interference import foreign, foreign_workload
from logcaster_guard.effects.looking import both, own_pods, workload_of
from logcaster_guard.ports import Cluster, Json, Kind

REPLICAS = "replicas"
BOUNDS = (field_owners.MINIMUM, field_owners.MAXIMUM)


class ScaleProductionHandler:
    """Gives the target another number of pods, never so few that the run's floor, or a disruption budget, is broken."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: ScaleProduction, run: Run) -> Observation:
        """Done when that many pods are wanted, whoever wrote it."""
        try:
            workload, service = await both(self._cluster, run)
            theirs = foreign(run, workload, service)
            if theirs is not None or workload is None:
                return Foreign(theirs or "the Deployment is gone")
            if workload.replicas == step.replicas and REPLICAS in run.holds:
                return Done(wanted(step.replicas))
            short = await self._short(step, run, workload)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if short is not None:
            return Pending(short)
        known = run.holds.get(REPLICAS)
        hold = Hold(
            id=REPLICAS,
            kind="replicas",
            object=workload.name,
            uid=workload.uid,
            original=run.opened.plan.full_size,
            written=step.replicas,
            earlier=(workload.replicas,) if known is None else tuple(sorted(known.ours)),
            owners=owners_of(workload.raw, field_owners.REPLICAS) if known is None else known.owners,
        )
        return Before(wanted(workload.replicas), borrows=hold)

    async def _short(self, step: ScaleProduction, run: Run, workload: Workload) -> str | None:
        """What forbids going down to that many pods now; None if nothing does."""
        if step.replicas >= workload.replicas:
            return None
        plan, pods = run.opened.plan, await own_pods(self._cluster, workload)
        helper = next((h.object for h in run.holds.values() if h.kind == "helper"), None)
        beside = 0 if helper is None else capacity.serving(pods, plan.selector, helper)
        own = capacity.serving(pods, plan.selector, None)
        left = beside + min(own, step.replicas)
        if left < plan.floor:
            return f"{left} pods would serve, and the floor is {plan.floor}"
        budgets = await self._cluster.list(Kind.DISRUPTION_BUDGET, plan.namespace)
        mine = capacity.budgets_for(budgets, capacity.labels_of(workload.template))
        return capacity.short_of(mine, pods, removed=max(0, own - step.replicas), expected=left)

    async def apply(self, step: ScaleProduction, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        workload = await workload_of(self._cluster, run)
        if workload is None or foreign_workload(run, workload) is not None or workload.replicas == step.replicas:
            return
        await scale(self._cluster, workload, step.replicas)

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """Done when production has its size again and serves as before; somebody else's size stays as it is.

        Not before no autoscaler is pinned to another size: it would write that over either.
        """
        try:
            workload = await workload_of(self._cluster, run)
            pinned = await self._pinned_elsewhere(hold, run, workload)
            if pinned is not None:
                return Before(pinned)
            if workload is None or workload.deleting:
                return Done("the Deployment is gone")
            if workload.uid != hold.uid and (workload.replicas == hold.original or not _is_ours(hold, run, workload)):
                return Foreign("the Deployment was created again by somebody else")
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if workload.replicas == hold.original and self._fields.due(workload.raw, hold, field_owners.REPLICAS):
            return Before("its size is back, and the guard's field")
        if workload.replicas == hold.original:
            return _carried(run, workload, pods)
        if workload.replicas in _made(hold, run):
            return Before(wanted(workload.replicas))
        who = written_by(workload.raw, field_owners.REPLICAS, since=run.opened.at)
        return Foreign(f"somebody else scaled it to {workload.replicas}{who}; it was {hold.original}")

    async def release(self, hold: Hold, run: Run) -> None:
        """Bring production to its size, its autoscalers first, which would undo it."""
        workload = await workload_of(self._cluster, run)
        for pinned in _pins(run):
            await _bound(self._cluster, run, pinned, *_due(hold, run, workload, pinned))
        if workload is None or hold.original is None or not _is_ours(hold, run, workload):
            return
        if workload.replicas != hold.original:
            await scale(self._cluster, workload, hold.original)
        elif workload.uid == hold.uid:
            await self._fields.hand_back(workload.raw, hold, field_owners.REPLICAS)

    async def _pinned_elsewhere(self, hold: Hold, run: Run, workload: Workload | None) -> str | None:
        """The autoscaler that the run has pinned to another size than the one that is to stay; None if none is."""
        for pinned in _pins(run):
            try:
                raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, pinned.object)
            except NotFound:
                continue
            kept = {_due(hold, run, workload, pinned), (pinned.original, pinned.original_maximum)}
            if raw["metadata"]["uid"] == pinned.uid and _bounds(raw) in _ours(pinned) - kept:
                return f"autoscaler {pinned.object} is pinned to {_bounds(raw)[0]} pods"
        return None


class PinAutoscalerHandler:
    """Borrows both bounds of an autoscaler, so that it wants what the guard wants."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: PinAutoscaler, run: Run) -> Observation:
        """Done when both bounds are the size, or the autoscaler is gone; bounds of somebody else's end the run."""
        try:
            workload, service = await both(self._cluster, run)
            theirs = foreign(run, workload, service)
            if theirs is not None:
                return Foreign(theirs)
            raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, step.autoscaler)
        except NotFound:
            return Done("the autoscaler is gone")
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if raw["metadata"]["uid"] != step.uid:
            return Foreign(f"Autoscaler {step.autoscaler} was created again by somebody else.")
        bounds, known = _bounds(raw), run.holds.get(_hold_id(step.autoscaler))
        if known is None:
            if bounds == (step.size, step.size):
                return Done(f"both bounds are {step.size}")
            hold = Hold(
                id=_hold_id(step.autoscaler),
                kind="autoscaler_bounds",
                object=step.autoscaler,
                uid=step.uid,
                original=bounds[0],
                original_maximum=bounds[1],
                written=step.size,
                owners=owners_of(raw, *BOUNDS),
            )
            return Before(f"bounds {bounds}", borrows=hold)
        if bounds not in _ours(known):
            who = written_by(raw, *BOUNDS, since=run.opened.at)
            return Foreign(
                f"Somebody set the bounds of autoscaler {step.autoscaler} to {bounds[0]} and {bounds[1]}{who}."
            )
        if bounds == (step.size, step.size) and known.written == step.size:
            return Done(f"both bounds are {step.size}")
        hold = _rewritten(known, step.size)
        return Before(f"bounds {bounds}", borrows=hold)

    async def apply(self, step: PinAutoscaler, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        if foreign_workload(run, await workload_of(self._cluster, run)) is not None:
            return
        await _pin(self._cluster, run, run.holds[_hold_id(step.autoscaler)], step.size)

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """The originals come back only while the autoscaler still shows what the guard wrote."""
        try:
            raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, hold.object)
        except NotFound:
            return Done("the autoscaler is gone")
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if raw["metadata"]["uid"] != hold.uid:
            return Foreign("the autoscaler was created again by somebody else")
        bounds, due = _bounds(raw), _given_back(raw, hold)
        if bounds != due:
            return Before(f"bounds {bounds}")
        if self._fields.due(raw, hold, *_mended(raw, hold)):
            return Before(f"bounds {bounds}, and the guard's fields")
        if bounds == (hold.original, hold.original_maximum):
            return Done(f"bounds {bounds}")
        who = written_by(raw, *BOUNDS, since=run.opened.at)
        before = f"{hold.original} and {hold.original_maximum}"
        return Foreign(f"somebody else set its bounds to {bounds[0]} and {bounds[1]}{who}; they were {before}")

    async def release(self, hold: Hold, run: Run) -> None:
        """Write each bound back that still shows what the guard wrote, and then hand it back."""
        namespace = run.opened.plan.namespace
        try:
            raw = await self._cluster.get(Kind.AUTOSCALER, namespace, hold.object)
        except NotFound:
            return
        due = _given_back(raw, hold)
        if raw["metadata"]["uid"] != hold.uid:
            return
        if _bounds(raw) != due:
            await _write_bounds(self._cluster, raw, *due)
        else:
            await self._fields.hand_back(raw, hold, *_mended(raw, hold))


def _made(hold: Hold, run: Run) -> frozenset[int]:
    """The sizes that the run wrote, or let an autoscaler write."""
    return hold.ours.union(*(h.ours for h in _pins(run)))


def _pins(run: Run) -> list[Hold]:
    return [h for h in run.holds.values() if h.kind == "autoscaler_bounds"]


def _is_ours(hold: Hold, run: Run, workload: Workload) -> bool:
    """Whether production has a size of the run's; one that was created again, because of an autoscaler of its name."""
    if workload.uid != hold.uid:
        return any(workload.replicas in pinned.ours for pinned in _pins(run))
    return workload.replicas in {hold.original, *_made(hold, run)}


def _due(hold: Hold, run: Run, workload: Workload | None, pinned: Hold) -> tuple[int, int]:
    """The bounds under which production can get its size back; the autoscaler's own where the size is theirs."""
    if workload is not None and hold.original and _is_ours(hold, run, workload):
        return hold.original, hold.original
    return pinned.original or 1, pinned.original_maximum or pinned.written


def _hold_id(autoscaler: str) -> str:
    return f"autoscaler/{autoscaler}"


def _bounds(raw: Json) -> tuple[int, int]:
    # The API server fills an absent minimum in as 1.
    return int(raw["spec"].get("minReplicas", 1)), int(raw["spec"]["maxReplicas"])


def _ours(hold: Hold) -> set[tuple[int | None, int | None]]:
    return {(size, size) for size in hold.ours} | {(hold.original, hold.original_maximum)}


def _given_back(raw: Json, hold: Hold) -> tuple[int, int]:
    """The bounds that the autoscaler is to have: each that is still the guard's as it was, others' as they are.

    One that was could be on the wrong side of the other that is somebody's: then it stays as well.
    """
    minimum, maximum = _bounds(raw)
    own_minimum, own_maximum = _guards_bounds(raw, hold)
    least = hold.original if own_minimum and hold.original is not None else minimum
    most = hold.original_maximum if own_maximum and hold.original_maximum else maximum
    if least <= most:
        return least, most
    return (minimum, most) if minimum <= most else (least, maximum) if least <= maximum else (minimum, maximum)


def _guards_bounds(raw: Json, hold: Hold) -> tuple[bool, bool]:
    """Whether each bound is still as the guard wrote it: a person may have set the very number that it wrote before.

    The field's manager tells. Without one, what stands beside somebody's bound is the guard's if it wrote that last.
    """
    bounds = _bounds(raw)
    if field_owners.entries_of(raw):
        owned = [field_owners.is_guards(raw, path) for path in BOUNDS]
    else:
        alone = all(bound in hold.ours for bound in bounds)
        owned = [alone or bound == hold.written for bound in bounds]
    minimum, maximum = (own and bound in hold.ours for own, bound in zip(owned, bounds, strict=True))
    return minimum, maximum


def _mended(raw: Json, hold: Hold) -> list[tuple[str, ...]]:
    """The fields of the bounds that are as they were."""
    were = (hold.original, hold.original_maximum)
    return [path for path, now, was in zip(BOUNDS, _bounds(raw), were, strict=True) if now == was]


def _rewritten(hold: Hold, size: int) -> Hold:
    return replace(hold, written=size, earlier=tuple(sorted(hold.ours)))


async def _pin(cluster: Cluster, run: Run, hold: Hold, size: int) -> None:
    await _bound(cluster, run, hold, size, size)


async def _bound(cluster: Cluster, run: Run, hold: Hold, minimum: int, maximum: int) -> None:
    namespace = run.opened.plan.namespace
    try:
        raw = await cluster.get(Kind.AUTOSCALER, namespace, hold.object)
    except NotFound:
        return
    if raw["metadata"]["uid"] == hold.uid and _bounds(raw) in _ours(hold) and _bounds(raw) != (minimum, maximum):
        await _write_bounds(cluster, raw, minimum, maximum)


async def _write_bounds(cluster: Cluster, raw: Json, minimum: int, maximum: int) -> None:
    metadata = raw["metadata"]
    patch: list[Json] = [
        _at_version(raw),
        {"op": "add", "path": "/spec/minReplicas", "value": minimum},
        {"op": "replace", "path": "/spec/maxReplicas", "value": maximum},
    ]
    await cluster.json_patch(Kind.AUTOSCALER, metadata["namespace"], metadata["name"], patch)


async def scale(cluster: Cluster, workload: Workload, replicas: int) -> None:
    """Ask for that many pods, bound to the resourceVersion of `workload`; raises the `ClusterError` it met."""
    patch: list[Json] = [_at_version(workload.raw), {"op": "replace", "path": "/spec/replicas", "value": replicas}]
    await cluster.json_patch(Kind(workload.kind), workload.namespace, workload.name, patch)


def _at_version(raw: Json) -> Json:
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": raw["metadata"]["resourceVersion"]}


def _carried(run: Run, workload: Workload, pods: Any) -> Observation:  # noqa: ANN401 - raw objects
    plan = run.opened.plan
    serving = capacity.serving(pods, plan.selector, None)
    wanted = min(plan.floor, workload.replicas)
    text = f"{serving} of {workload.replicas} pods serve, {wanted} are needed"
    return Done(text) if serving >= wanted else Pending(text)
