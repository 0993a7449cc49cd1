"""Waits until no pod of production runs any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToAwaitStopped
from logcaster_guard.domain.reasons import NotMadeInTime
from logcaster_guard.domain.runs import FAILED, Run
from logcaster_guard.domain.step_observations import PodsLeft
from logcaster_guard.domain.steps import Plan, Purpose, Wait
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.observe import belonging, own_pods, undisturbed
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class AwaitStopped(Wait):
    """Wait: until each pod of production is on its way out, so that none starts a container; `timeout` in seconds."""

    timeout: float
    kind: Literal["await_stopped"] = "await_stopped"
    inconclusive_if_unseen: ClassVar = False
    purpose: ClassVar = Purpose.PREPARATION

    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        return FAILED, NotMadeInTime(detail)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToAwaitStopped(self.timeout)


class AwaitStoppedHandler:
    """Follows the pods of production that was scaled to none."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def observe(self, step: AwaitStopped, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when none is left but those that are being deleted or have ended."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            if theirs is not None or workload is None:
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            pods = await own_pods(self._cluster, workload)
            replica_sets = await self._cluster.list(Kind.REPLICA_SET, workload.namespace)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        left = PodsLeft(sum(map(_runs, belonging(pods, workload, replica_sets))))
        return Before(left) if left.pods else Done(left)

    async def apply(self, step: AwaitStopped, run: Run) -> None:
        """Nothing to do: the Deployment controller does it."""


def _runs(pod: Json) -> bool:
    """Whether a container of the pod may still be started."""
    ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    return not ended and "deletionTimestamp" not in pod["metadata"]


KIND = StepKind(AwaitStopped, lambda c: AwaitStoppedHandler(c.cluster), compensates=None)
