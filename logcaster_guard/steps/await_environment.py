"""Waits until the other environment could take all of the requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import capacity
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.runs import DESTINATION_BAD, FAILED, Run
from logcaster_guard.domain.startup import never_starts
from logcaster_guard.domain.step_reasons import DoesNotComeUp, DoesNotStart, PodsCrashed, RolloutIncomplete
from logcaster_guard.domain.steps import Look, Plan, Purpose
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.helper_deployment import (
    restarts,
)
from logcaster_guard.steps.observe import (
    own_pods,
    undisturbed,
)
from logcaster_guard.steps.services import StepKind


@dataclass(frozen=True, slots=True)
class AwaitEnvironment(Look):
    """Wait: until `replicas` pods of the other environment are Ready, all of the good release; `timeout` in seconds."""

    replicas: int
    timeout: float
    kind: Literal["await_environment"] = "await_environment"
    inconclusive_if_unseen: ClassVar = False
    purpose: ClassVar = Purpose.PREPARATION
    asks: ClassVar = None

    @property
    def deadline(self) -> float:
        return self.timeout

    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        return FAILED, RolloutIncomplete(detail)

    def line(self, plan: Plan) -> str:  # noqa: ARG002 - the base's shape
        return f"wait until {self.replicas} pods of the other environment are Ready"


class AwaitEnvironmentHandler:
    """Waits until the other environment could take all of the requests."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def observe(self, step: AwaitEnvironment, run: Run) -> Observation:
        """Done when enough pods are Ready, all of the good release; pods that crash show that the release is bad."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            if theirs is not None or workload is None:
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        ready = sum(capacity.is_serving(p, None) for p in pods)
        text = f"{ready} of {step.replicas} pods of {workload.name} are Ready{workload.refusal}"
        if ready >= step.replicas and workload.observed and workload.rolled_out:
            return Done(text)
        if ready >= step.replicas:
            text = f"{text}, but its controller has not brought the rollout to its end: {workload.progress}"
        said = never_starts(pods, self._clock.now(), lasted=run.lasted(self._clock.now()))
        if said is not None:
            return Failed(DESTINATION_BAD, DoesNotStart(said))
        crashed = sum(restarts(p) > 0 for p in pods)
        if crashed:
            return Before(text, overdue=(DESTINATION_BAD, PodsCrashed(text, crashed)))
        return Before(text, overdue=(FAILED, DoesNotComeUp(other=True, detail=text)))

    async def apply(self, step: AwaitEnvironment, run: Run) -> None:
        """Nothing to do: the Deployment controller does it."""


KIND = StepKind(AwaitEnvironment, lambda c: AwaitEnvironmentHandler(c.cluster, c.clock), compensates=None)
