"""Waits for the rollout of the good release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToAwaitRollout
from logcaster_guard.domain.runs import DESTINATION_BAD, FAILED, Run
from logcaster_guard.domain.startup import never_starts
from logcaster_guard.domain.step_reasons import DoesNotStart, NoProgress
from logcaster_guard.domain.steps import (
    Plan,
    Purpose,
    RolloutWait,
)
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.observe import (
    destination,
    held_up_pods,
    rolled_out_again,
    undisturbed,
)
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class AwaitRollout(RolloutWait):
    """Wait: until every pod is of the restored template and available; `timeout` in seconds."""

    timeout: float
    kind: Literal["await_rollout"] = "await_rollout"
    inconclusive_if_unseen: ClassVar = True
    purpose: ClassVar = Purpose.SETTLING

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToAwaitRollout(self.timeout)


class AwaitRolloutHandler:
    """Follows the rollout of the good release to its end."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def observe(self, step: AwaitRollout, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when every pod is the good release's and available; failed when Kubernetes gave up, or none starts."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if theirs is not None or workload is None:
            return ExternalChange(theirs or WorkloadGone("the Deployment"))
        seen = self._progress(workload, run)
        return await self._unstartable(workload, run) or seen if isinstance(seen, Before) else seen

    async def _unstartable(self, workload: Workload, run: Run) -> Failed | None:
        try:
            pods = await held_up_pods(self._cluster, workload, destination(run))
        except ClusterError:
            # Whoever may not see the pods waits for the deadline.
            return None
        said = never_starts(pods, self._clock.now(), lasted=run.lasted(self._clock.now()))
        return None if said is None else Failed(DESTINATION_BAD, DoesNotStart(said))

    def _progress(self, workload: Workload, run: Run) -> Observation:
        if workload.hash != destination(run):
            return rolled_out_again(workload, run)
        if workload.rolled_out:
            return Done(workload.progress)
        # A condition of the bad rollout can outlive it: only one that the good rollout had time to earn counts.
        if workload.progress_deadline_exceeded and run.lasted(self._clock.now()) >= workload.progress_deadline:
            return Failed(FAILED, NoProgress(workload.progress))
        return Before(workload.progress)

    async def apply(self, step: AwaitRollout, run: Run) -> None:
        """Nothing to do: the Deployment controller does it."""


KIND = StepKind(AwaitRollout, lambda c: AwaitRolloutHandler(c.cluster, c.clock), compensates=None)
