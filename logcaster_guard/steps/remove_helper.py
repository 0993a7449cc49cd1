"""Deletes the helper once production carries the load alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import capacity
from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing, deleting
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Pending, Unclear
from logcaster_guard.domain.plan_lines import ToRemoveHelper
from logcaster_guard.domain.provenance import MANAGED, RUN
from logcaster_guard.domain.provenance_reasons import HelperLeft, WithoutToken
from logcaster_guard.domain.reasons import DeleteHelper
from logcaster_guard.domain.rights import GRADUAL_ROLE, Right
from logcaster_guard.domain.runs import FAILED, Run
from logcaster_guard.domain.step_observations import HelperBeingDeleted, HelperServesOn, ServeWithoutHelper
from logcaster_guard.domain.steps import Compensation, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.helper_deployment import (
    HELPER,
    HelperHandler,
    disowned,
    stands,
)
from logcaster_guard.steps.observe import (
    delete,
    deployment_called,
    own_pods,
    workload_of,
)
from logcaster_guard.steps.step_services import Neighbours, StepKind


@dataclass(frozen=True, slots=True)
class RemoveHelper(Write):
    """Write: the helper is deleted, with its pods, once production carries the load alone."""

    helper: str
    kind: Literal["remove_helper"] = "remove_helper"
    blobs: ClassVar = ()
    claims: ClassVar = ()
    borrows: ClassVar = None
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return (plan.object("Deployment", self.helper),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (Right("delete", "apps", "deployments", plan.namespace, self.helper, GRADUAL_ROLE),)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToRemoveHelper(self.helper)


class RemoveHelperHandler(HelperHandler):
    """Deletes the helper once production carries the load alone; as a step, and at the end of a run."""

    async def observe(self, step: RemoveHelper, run: Run) -> Observation:
        """Done when it is gone, with its pods on their way."""
        seen = await self._seen(run, step.helper, starts=False)
        if not isinstance(seen, tuple):
            return seen
        workload, helper = seen
        theirs = None if helper is None else disowned(run, helper, workload)
        return ExternalChange(stands(step.helper, theirs)) if theirs else await self._removable(run, workload, helper)

    async def apply(self, step: RemoveHelper, run: Run) -> None:
        """Delete in the foreground: orphaned ReplicaSets would be taken in by production."""
        await self._delete(run, step.helper)

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """As the step; whatever became of production."""
        try:
            workload = await workload_of(self._cluster, run)
            helper = await deployment_called(self._cluster, run, owed.object)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        theirs = None if helper is None else disowned(run, helper, workload)
        if isinstance(theirs, WithoutToken):
            return Failed(FAILED, stands(owed.object, theirs))
        return ExternalChange(stands(owed.object, theirs)) if theirs else await self._removable(run, workload, helper)

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """As the step."""
        await self._delete(run, owed.object)

    async def sweep(self, owed: Compensation, run: Run, around: Neighbours) -> bool:
        """Not while a target's Service would select nobody else, nor what is a target's own."""
        helper = None if owed.object in around.workloads else await deployment_called(self._cluster, run, owed.object)
        if helper is None or helper.deleting:
            return False
        if disowned(run, helper, await workload_of(self._cluster, run)) is not None:
            return False
        pods = await self._cluster.list(Kind.POD, helper.namespace)
        if any(_serves_alone(helper, pods, selector) for selector in await around.selectors()):
            return False
        await delete(self._cluster, helper)
        return True

    async def _removable(self, run: Run, workload: Workload | None, helper: Workload | None) -> Observation:
        if helper is None:
            return Done(WorkloadGone("the helper"))
        if helper.deleting:
            return Pending(HelperBeingDeleted())
        plan = run.opened.plan
        gone = workload is None or workload.deleting
        try:
            # Deleted with its pods, production takes the helper along; pods that it has left behind serve all the same.
            if workload is None or gone:
                pods = await self._cluster.list(Kind.POD, plan.namespace)
            else:
                pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        serving = capacity.serving(pods, plan.selector, None)
        wanted = max(plan.floor, 1) if workload is None or gone else workload.replicas
        needed = min(plan.floor, wanted)
        if wanted and capacity.serving(pods, plan.selector, helper.name):
            # Whoever serves alone stays, however few served at the start.
            needed = max(needed, 1)
        others = ServeWithoutHelper(serving, plan.deployment if gone else "")
        return Pending(HelperServesOn(others, needed)) if serving < needed else Before(others)

    async def _delete(self, run: Run, name: str) -> None:
        helper = await deployment_called(self._cluster, run, name)
        if helper is None or helper.deleting:
            return
        if disowned(run, helper, await workload_of(self._cluster, run)) is not None:
            return
        await delete(self._cluster, helper)


def helper_serves(run: Run) -> bool:
    """Whether a helper carries what is missing: it goes only after production has its size."""
    return bool(run.borrowed(HELPER)) and not any(isinstance(step, RemoveHelper) for step in run.done)


def _serves_alone(helper: Workload, pods: Sequence[Json], selector: Mapping[str, str]) -> bool:
    return capacity.serving(pods, selector, helper.name) > 0 and not capacity.serving(pods, selector, None)


async def left(cluster: Cluster, namespace: str) -> Sequence[Message]:
    """The helpers that are there, each with the run that made it. Raises the `ClusterError` it met."""
    listed = await cluster.list(Kind.DEPLOYMENT, namespace, ",".join(f"{k}={v}" for k, v in MANAGED.items()))
    helpers = [Workload(raw) for raw in listed if capacity.is_helper(raw)]
    return [HelperLeft(h.key, h.replicas, str(h.annotations.get(RUN))) for h in helpers if not h.deleting]


def _remedy(plan: Plan, owed: Compensation) -> Remedy:
    return Remedy(DeleteHelper(), deleting(plan, owed.object))


KIND = StepKind(
    RemoveHelper,
    lambda c: RemoveHelperHandler(c.cluster),
    compensates=CompensationKind(
        HELPER,
        touches=lambda plan, owed: (plan.object("Deployment", owed.object),),
        remedy=_remedy,
        stood_in_for=by_nothing,
        owner=lambda plan: plan.uid,
    ),
)
