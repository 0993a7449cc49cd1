"""Changes how many pods the target has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from logcaster_guard.domain import capacity, field_owners
from logcaster_guard.domain.compensations import CompensationKind, scaling, set_back
from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.external_changes import external_change, external_workload_change
from logcaster_guard.domain.field_owners import owners_of, written_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Pending, Unclear
from logcaster_guard.domain.plan_lines import ToScaleProduction
from logcaster_guard.domain.rights import Right, on_workload
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_observations import BelowFloor, PodsServe
from logcaster_guard.domain.step_reasons import MadeAnewByOthers, SizeIsTheirs
from logcaster_guard.domain.steps import (
    Claim,
    Compensation,
    Field,
    ObjectReference,
    Plan,
    Purpose,
    Write,
)
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.value_observations import PinnedTo, PodsWanted, SizeIsGuards
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.field_ownership import FieldOwnership
from logcaster_guard.steps.helper_deployment import HELPER
from logcaster_guard.steps.observe import (
    both,
    own_pods,
    workload_of,
)
from logcaster_guard.steps.pin_autoscaler import bounds_of, bounds_written, pins, set_bounds
from logcaster_guard.steps.remove_helper import helper_serves
from logcaster_guard.steps.step_services import StepKind

REPLICAS = "replicas"


@dataclass(frozen=True, slots=True)
class ScaleProduction(Write):
    """Write: the target gets `replicas` pods, never so few that fewer than the plan's `floor` would serve."""

    replicas: int
    kind: Literal["scale_production"] = "scale_production"
    blobs: ClassVar = ()
    borrows: ClassVar = REPLICAS
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (on_workload("patch", plan.kind, plan.namespace, plan.deployment),)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToScaleProduction(self.replicas)

    @property
    def claims(self) -> Sequence[Claim]:
        return (Claim(Field.SIZE, self.replicas),)


class ScaleProductionHandler:
    """Gives the target another number of pods, never so few that the run's floor, or a disruption budget, is broken."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: ScaleProduction, run: Run) -> Observation:
        """Done when that many pods are wanted, whoever wrote it."""
        try:
            workload, service = await both(self._cluster, run)
            theirs = external_change(run, workload, service)
            if theirs is not None or workload is None:
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            if workload.replicas == step.replicas and REPLICAS in run.compensations:
                return Done(PodsWanted(step.replicas))
            short = await self._short(step, run, workload)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if short is not None:
            return Pending(short)
        known = run.compensations.get(REPLICAS)
        owed = Compensation(
            id=REPLICAS,
            kind=REPLICAS,
            object=workload.name,
            uid=workload.uid,
            original=run.opened.plan.full_size,
            written=step.replicas,
            earlier=(workload.replicas,) if known is None else tuple(sorted(set(known.ours))),
            owners=owners_of(workload.raw, field_owners.REPLICAS) if known is None else known.owners,
        )
        return Before(PodsWanted(workload.replicas), borrows=owed)

    async def _short(self, step: ScaleProduction, run: Run, workload: Workload) -> Message | None:
        """What forbids going down to that many pods now; None if nothing does."""
        if step.replicas >= workload.replicas:
            return None
        plan, pods = run.opened.plan, await own_pods(self._cluster, workload)
        helper = next((h.object for h in run.borrowed(HELPER)), None)
        beside = 0 if helper is None else capacity.serving(pods, plan.selector, helper)
        own = capacity.serving(pods, plan.selector, None)
        left = beside + min(own, step.replicas)
        if left < plan.floor:
            return BelowFloor(left, plan.floor)
        budgets = await self._cluster.list(Kind.DISRUPTION_BUDGET, plan.namespace)
        mine = capacity.budgets_for(budgets, capacity.labels_of(workload.template))
        return capacity.short_of(mine, pods, removed=max(0, own - step.replicas), expected=left)

    async def apply(self, step: ScaleProduction, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        workload = await workload_of(self._cluster, run)
        if (
            workload is None
            or external_workload_change(run, workload) is not None
            or workload.replicas == step.replicas
        ):
            return
        await scale(self._cluster, workload, step.replicas)

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """Done when production has its size again and serves as before; somebody else's size stays as it is.

        Not before no autoscaler is pinned to another size: it would write that over either.
        """
        try:
            workload = await workload_of(self._cluster, run)
            pinned = await self._pinned_elsewhere(owed, run, workload)
            if pinned is not None:
                return Before(pinned)
            if workload is None or workload.deleting:
                return Done(WorkloadGone("the Deployment"))
            if workload.uid != owed.uid and (workload.replicas == owed.original or not _is_ours(owed, run, workload)):
                return ExternalChange(MadeAnewByOthers("the Deployment"))
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if workload.replicas == owed.original and self._fields.due(workload.raw, owed, field_owners.REPLICAS):
            return Before(SizeIsGuards(""))
        if workload.replicas == owed.original:
            return _carried(run, workload, pods)
        if workload.replicas in _made(owed, run):
            return Before(PodsWanted(workload.replicas))
        who = written_by(workload.raw, field_owners.REPLICAS, since=run.opened.at)
        return ExternalChange(SizeIsTheirs(workload.replicas, str(owed.original), who))

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Bring production to its size, its autoscalers first, which would undo it."""
        workload = await workload_of(self._cluster, run)
        for pinned in pins(run):
            await set_bounds(self._cluster, run, pinned, *_due(owed, run, workload, pinned))
        if workload is None or owed.original is None or not _is_ours(owed, run, workload):
            return
        if workload.replicas != owed.original:
            await scale(self._cluster, workload, owed.original)
        elif workload.uid == owed.uid:
            await self._fields.hand_back(workload.raw, owed, field_owners.REPLICAS)

    async def _pinned_elsewhere(self, owed: Compensation, run: Run, workload: Workload | None) -> Message | None:
        """The autoscaler that the run has pinned to another size than the one that is to stay; None if none is."""
        for pinned in pins(run):
            try:
                raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, pinned.object)
            except NotFound:
                continue
            kept = {_due(owed, run, workload, pinned), (pinned.original, pinned.original_maximum)}
            if raw["metadata"]["uid"] == pinned.uid and bounds_of(raw) in bounds_written(pinned) - kept:
                return PinnedTo(pinned.object, bounds_of(raw)[0])
        return None


def _made(owed: Compensation, run: Run) -> frozenset[int]:
    """The sizes that the run wrote, or let an autoscaler write."""
    return frozenset(owed.ours).union(*(h.ours for h in pins(run)))


def _is_ours(owed: Compensation, run: Run, workload: Workload) -> bool:
    """Whether production has a size of the run's; one that was created again, because of an autoscaler of its name."""
    if workload.uid != owed.uid:
        return any(workload.replicas in pinned.ours for pinned in pins(run))
    return workload.replicas in {owed.original, *_made(owed, run)}


def _due(owed: Compensation, run: Run, workload: Workload | None, pinned: Compensation) -> tuple[int, int]:
    """The bounds under which production can get its size back; the autoscaler's own where the size is theirs."""
    if workload is not None and owed.original and _is_ours(owed, run, workload):
        return owed.original, owed.original
    return pinned.original or 1, pinned.original_maximum or pinned.written


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
    seen = PodsServe(serving, workload.replicas, wanted)
    return Done(seen) if serving >= wanted else Pending(seen)


KIND = StepKind(
    ScaleProduction,
    lambda c: ScaleProductionHandler(c.cluster),
    compensates=CompensationKind(
        REPLICAS,
        touches=lambda plan, owed: (plan.object(plan.kind, owed.object),),
        remedy=lambda plan, owed: set_back(owed, scaling(plan, owed)),
        stood_in_for=helper_serves,
        owner=None,
    ),
)
