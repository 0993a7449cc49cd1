"""Waits until the other environment could take all of the requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import capacity
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToAwaitEnvironment
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_observations import PodsReady, RolloutGoesOn
from logcaster_guard.domain.steps import Plan, Purpose, RolloutWait
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.copy_object import pods_would_read_another
from logcaster_guard.steps.observe import (
    coming_up,
    own_pods,
    undisturbed,
)
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class AwaitEnvironment(RolloutWait):
    """Wait: until `replicas` pods of the other environment are Ready, all of the good release; `timeout` in seconds."""

    replicas: int
    timeout: float
    kind: Literal["await_environment"] = "await_environment"
    inconclusive_if_unseen: ClassVar = False
    purpose: ClassVar = Purpose.PREPARATION

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToAwaitEnvironment(self.replicas)


class AwaitEnvironmentHandler:
    """Waits until the other environment could take all of the requests."""

    def __init__(self, cluster: Cluster, manifests: KeptManifests, clock: Clock) -> None:
        self._cluster = cluster
        self._manifests = manifests
        self._clock = clock

    async def observe(self, step: AwaitEnvironment, run: Run) -> Observation:
        """Done when enough pods are Ready, all of the good release; pods that crash show that the release is bad."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            theirs = theirs or await pods_would_read_another(self._cluster, self._manifests, run)
            if theirs is not None or workload is None:
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        ready = sum(capacity.is_serving(p, None) for p in pods)
        seen: Message = PodsReady(ready, step.replicas, workload.name, workload.refusal)
        if ready >= step.replicas and workload.observed and workload.rolled_out:
            return Done(seen)
        if ready >= step.replicas:
            seen = RolloutGoesOn(seen, workload.progress)
        return coming_up(pods, run, self._clock.now(), seen, other=True)

    async def apply(self, step: AwaitEnvironment, run: Run) -> None:
        """Nothing to do: the Deployment controller does it."""


KIND = StepKind(AwaitEnvironment, lambda c: AwaitEnvironmentHandler(c.cluster, c.manifests, c.clock), compensates=None)
