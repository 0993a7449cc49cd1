"""Waits until the helper's pods serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import capacity
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToAwaitHelper
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_observations import ChangeUnseen, HelperPodsServe
from logcaster_guard.domain.steps import Plan, Purpose, RolloutWait
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.helper_deployment import (
    HelperHandler,
    foreign_helper,
    helper_pods,
)
from logcaster_guard.steps.observe import coming_up
from logcaster_guard.steps.restore_object import edited_before
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class AwaitHelper(RolloutWait):
    """Wait: until `replicas` pods of the helper are Ready and the Service selects them; `timeout` in seconds."""

    helper: str
    replicas: int
    timeout: float
    kind: Literal["await_helper"] = "await_helper"
    inconclusive_if_unseen: ClassVar = False
    purpose: ClassVar = Purpose.PREPARATION

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToAwaitHelper(self.helper, self.replicas)


class AwaitHelperHandler(HelperHandler):
    """Waits until the helper's pods serve, and looks before production is made smaller at what is to be put back."""

    def __init__(self, cluster: Cluster, manifests: KeptManifests, clock: Clock) -> None:
        super().__init__(cluster)
        self._manifests = manifests
        self._clock = clock

    async def observe(self, step: AwaitHelper, run: Run) -> Observation:
        """Done when enough of them are Ready and selected; pods that crash show that the release is bad."""
        seen = await self._seen(run, step.helper)
        if not isinstance(seen, tuple):
            return seen
        workload, helper = seen
        theirs: Reason | None = foreign_helper(run, helper, step.helper, step.replicas, workload)
        try:
            theirs = theirs or await edited_before(self._cluster, self._manifests, run)
            if theirs is not None or helper is None:
                return ExternalChange(theirs or WorkloadGone("the helper"))
            pods = await helper_pods(self._cluster, helper)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        serving = capacity.serving(pods, run.opened.plan.selector, step.helper)
        told: Message = HelperPodsServe(serving, step.replicas, step.helper, helper.refusal)
        if serving >= step.replicas and helper.observed:
            return Done(told)
        if serving >= step.replicas:
            told = ChangeUnseen(told)
        return coming_up(pods, run, self._clock.now(), told, other=False)

    async def apply(self, step: AwaitHelper, run: Run) -> None:
        """Nothing to do: the Deployment controller does it."""


KIND = StepKind(AwaitHelper, lambda c: AwaitHelperHandler(c.cluster, c.manifests, c.clock), compensates=None)
