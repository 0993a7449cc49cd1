"""Gives the helper another number of pods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation
from logcaster_guard.domain.plan_lines import ToScaleHelper
from logcaster_guard.domain.rights import GRADUAL_ROLE, Right
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.value_observations import PodsWanted
from logcaster_guard.ports import Json, Kind
from logcaster_guard.steps.helper_deployment import (
    HelperHandler,
    disowned,
    gone,
)
from logcaster_guard.steps.observe import (
    deployment_called,
    workload_of,
)
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class ScaleHelper(Write):
    """Write: the helper gets `replicas` pods."""

    helper: str
    replicas: int
    kind: Literal["scale_helper"] = "scale_helper"
    blobs: ClassVar = ()
    claims: ClassVar = ()
    borrows: ClassVar = None
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return (plan.object("Deployment", self.helper),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (Right("patch", "apps", "deployments", plan.namespace, self.helper, GRADUAL_ROLE),)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToScaleHelper(self.helper, self.replicas)


class ScaleHelperHandler(HelperHandler):
    """Gives the helper more pods."""

    async def observe(self, step: ScaleHelper, run: Run) -> Observation:
        """Done when that many are wanted."""
        seen = await self._seen(run, step.helper)
        if not isinstance(seen, tuple):
            return seen
        workload, helper = seen
        theirs = gone(run, helper, step.helper, workload)
        if theirs is not None or helper is None:
            return ExternalChange(theirs or WorkloadGone("the helper"))
        if helper.replicas == step.replicas:
            return Done(PodsWanted(step.replicas))
        return Before(PodsWanted(helper.replicas))

    async def apply(self, step: ScaleHelper, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        helper = await deployment_called(self._cluster, run, step.helper)
        if helper is None or disowned(run, helper, await workload_of(self._cluster, run)) is not None:
            return
        patch: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": helper.resource_version},
            {"op": "replace", "path": "/spec/replicas", "value": step.replicas},
        ]
        await self._cluster.json_patch(Kind.DEPLOYMENT, helper.namespace, helper.name, patch)


KIND = StepKind(ScaleHelper, lambda c: ScaleHelperHandler(c.cluster), compensates=None)
