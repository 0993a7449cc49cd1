"""Gives the other environment as many pods as the live one has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from logcaster_guard.domain import field_owners
from logcaster_guard.domain.compensations import CompensationKind, by_nothing, scaling, set_back
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToScaleEnvironment
from logcaster_guard.domain.rights import SWITCHING_ROLE, Right, on_workload
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Claim, Compensation, Field, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.value_observations import AnotherSize, PodsWanted, SizeIsGuards
from logcaster_guard.ports import Cluster
from logcaster_guard.steps.environment import given_back
from logcaster_guard.steps.field_ownership import FieldOwnership
from logcaster_guard.steps.observe import (
    undisturbed,
    workload_of,
)
from logcaster_guard.steps.scale_production import scale
from logcaster_guard.steps.step_services import StepKind

SIZE: Final = "environment_size"


@dataclass(frozen=True, slots=True)
class ScaleEnvironment(Write):
    """Write: the environment that is to take over gets `replicas` pods."""

    replicas: int
    kind: Literal["scale_environment"] = "scale_environment"
    blobs: ClassVar = ()
    borrows: ClassVar = SIZE
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (on_workload("patch", plan.kind, plan.namespace, plan.deployment, SWITCHING_ROLE),)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToScaleEnvironment(self.replicas)

    @property
    def claims(self) -> Sequence[Claim]:
        return (Claim(Field.SIZE, self.replicas),)


class ScaleEnvironmentHandler:
    """Gives the other environment as many pods as the live one has."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: ScaleEnvironment, run: Run) -> Observation:
        """Done when that many pods are wanted."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if theirs is not None or workload is None:
            return ExternalChange(theirs or WorkloadGone("the Deployment"))
        if workload.replicas >= step.replicas:
            return Done(PodsWanted(workload.replicas))
        size = workload.replicas
        owners = field_owners.owners_of(workload.raw, field_owners.REPLICAS)
        owed = Compensation(
            SIZE, SIZE, workload.name, workload.uid, original=size, written=step.replicas, owners=owners
        )
        return Before(PodsWanted(size), borrows=run.compensations.get(SIZE, owed))

    async def apply(self, step: ScaleEnvironment, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        workload = await workload_of(self._cluster, run)
        if (
            workload is None
            or external_workload_change(run, workload) is not None
            or workload.replicas >= step.replicas
        ):
            return
        await scale(self._cluster, workload, step.replicas)

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """It keeps its pods where it serves; else it gets its size back, unless somebody else gave it another one."""
        seen = await self._size_given_back(owed, run)
        if not isinstance(seen, Done):
            return seen
        try:
            workload = await workload_of(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if workload is not None and self._fields.due(workload.raw, owed, field_owners.REPLICAS):
            return Before(SizeIsGuards(seen.detail))
        return seen

    async def _size_given_back(self, owed: Compensation, run: Run) -> Observation:
        """`Before` if it is to be, `Done` if its size is as it is to stay."""
        ours = {owed.original, owed.written}
        seen = await given_back(
            self._cluster, run, lambda w: w.uid != owed.uid or w.replicas not in ours, AnotherSize()
        )
        workload = await workload_of(self._cluster, run) if isinstance(seen, Before) else None
        back = workload is not None and workload.replicas == owed.original
        return Done(PodsWanted(int(owed.original))) if back else seen

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Bring it to its size again, or hand the field back where the size is as it is to stay."""
        seen = await self._size_given_back(owed, run)
        workload = await workload_of(self._cluster, run)
        if workload is None or workload.uid != owed.uid:
            return
        if isinstance(seen, Done):
            await self._fields.hand_back(workload.raw, owed, field_owners.REPLICAS)
        elif isinstance(seen, Before) and workload.replicas == owed.written:
            await scale(self._cluster, workload, owed.original or 0)


KIND = StepKind(
    ScaleEnvironment,
    lambda c: ScaleEnvironmentHandler(c.cluster),
    compensates=CompensationKind(
        SIZE,
        touches=lambda plan, owed: (plan.object(plan.kind, owed.object),),
        remedy=lambda plan, owed: set_back(owed, scaling(plan, owed)),
        stood_in_for=by_nothing,
        owner=None,
    ),
)
