"""Raises the minimum of an autoscaler, so that it does not shrink the target while it is rolled back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import field_owners
from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing, patching, set_back
from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.external_changes import external_change, external_workload_change
from logcaster_guard.domain.field_owners import written_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToRaiseMinimum
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_reasons import MadeAnewByOthers, MinimumIsTheirs
from logcaster_guard.domain.steps import (
    Compensation,
    ObjectReference,
    Plan,
    Purpose,
    Write,
)
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.value_observations import MinimumIs
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.field_ownership import FieldOwnership
from logcaster_guard.steps.observe import (
    both,
    workload_of,
)
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class RaiseAutoscalerMinimum(Write):
    """Write: an autoscaler may not shrink the target below `minimum` pods while it is rolled back."""

    autoscaler: str
    uid: str
    minimum: int
    kind: Literal["raise_autoscaler_minimum"] = "raise_autoscaler_minimum"
    blobs: ClassVar = ()
    claims: ClassVar = ()
    borrows: ClassVar = "autoscaler_minimum"
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return (plan.object("HorizontalPodAutoscaler", self.autoscaler),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (Right("patch", "autoscaling", "horizontalpodautoscalers", plan.namespace, self.autoscaler),)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToRaiseMinimum(self.autoscaler, self.minimum)


class RaiseAutoscalerMinimumHandler:
    """Borrows an autoscaler's minimum, so that it does not shrink the target while it is rolled back."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: RaiseAutoscalerMinimum, run: Run) -> Observation:
        """Done when the minimum is high enough, or the autoscaler is gone."""
        try:
            workload, service = await both(self._cluster, run)
            raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, step.autoscaler)
        except NotFound:
            return Done(WorkloadGone("the autoscaler"))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        theirs = external_change(run, workload, service)
        if theirs is not None:
            return ExternalChange(theirs)
        minimum = raw["spec"].get("minReplicas")
        if raw["metadata"]["uid"] != step.uid or int(minimum or 1) >= step.minimum:
            return Done(MinimumIs(str(minimum), ours=False))
        # A minimum that was raised before already is not the one to go back to.
        known = run.compensations.get(_compensation_id(step))
        if known is not None and minimum not in known.ours:
            known = None
        return Before(
            MinimumIs(str(minimum), ours=False),
            borrows=Compensation(
                id=_compensation_id(step),
                kind=step.borrows,
                object=step.autoscaler,
                uid=step.uid,
                original=minimum if known is None else known.original,
                written=step.minimum,
                earlier=() if known is None else tuple(sorted(set(known.ours))),
                owners=field_owners.owners_of(raw, field_owners.MINIMUM) if known is None else known.owners,
            ),
        )

    async def apply(self, step: RaiseAutoscalerMinimum, run: Run) -> None:
        """Raise the minimum, bound to the resourceVersion that was looked at, if the compensation tells what it was."""
        if external_workload_change(run, await workload_of(self._cluster, run)) is not None:
            return
        owed = run.compensations[_compensation_id(step)]
        await self._write(run, owed, shown={owed.original, *owed.earlier}, minimum=step.minimum)

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """The original comes back only while the autoscaler still shows what the guard wrote."""
        try:
            raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, owed.object)
        except NotFound:
            return Done(WorkloadGone("the autoscaler"))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        minimum = raw["spec"].get("minReplicas")
        if raw["metadata"]["uid"] != owed.uid:
            return ExternalChange(MadeAnewByOthers("the autoscaler"))
        if minimum in owed.ours:
            return Before(MinimumIs(str(minimum), ours=False))
        if minimum == _floor(owed) and self._fields.due(raw, owed, field_owners.MINIMUM):
            return Before(MinimumIs(str(minimum), ours=True))
        if minimum == _floor(owed):
            return Done(MinimumIs(str(minimum), ours=False))
        who = written_by(raw, field_owners.MINIMUM, since=run.opened.at)
        return ExternalChange(MinimumIsTheirs(str(minimum), str(_floor(owed)), who))

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Write the original minimum back, if the autoscaler still shows what the guard wrote."""
        raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, owed.object)
        if raw["metadata"]["uid"] == owed.uid and raw["spec"].get("minReplicas") == _floor(owed):
            await self._fields.hand_back(raw, owed, field_owners.MINIMUM)
            return
        await self._write(run, owed, shown=owed.ours, minimum=_floor(owed))

    async def _write(self, run: Run, owed: Compensation, *, shown: Collection[int | None], minimum: int) -> None:
        namespace, name = run.opened.plan.namespace, owed.object
        raw = await self._cluster.get(Kind.AUTOSCALER, namespace, name)
        if raw["metadata"]["uid"] != owed.uid or raw["spec"].get("minReplicas") not in shown:
            return
        version = raw["metadata"]["resourceVersion"]
        patch: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/spec/minReplicas", "value": minimum},
        ]
        await self._cluster.json_patch(Kind.AUTOSCALER, namespace, name, patch)


def _compensation_id(step: RaiseAutoscalerMinimum) -> str:
    return f"autoscaler/{step.autoscaler}"


def _floor(owed: Compensation) -> int:
    # The API server fills an absent minimum in as 1.
    return 1 if owed.original is None else owed.original


def _remedy(plan: Plan, owed: Compensation) -> Remedy:
    return set_back(owed, patching(plan, "hpa", owed.object, {"minReplicas": owed.original}))


KIND = StepKind(
    RaiseAutoscalerMinimum,
    lambda c: RaiseAutoscalerMinimumHandler(c.cluster),
    compensates=CompensationKind(
        RaiseAutoscalerMinimum.borrows,
        touches=lambda plan, owed: (plan.object("HorizontalPodAutoscaler", owed.object),),
        remedy=_remedy,
        stood_in_for=by_nothing,
        owner=None,
    ),
)
