"""Sees whether the environment that took over is worse than the one before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import capacity
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.measurements import ErrorShare, JudgedIn, Unmeasured, WorseUntold
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToJudgeEnvironment
from logcaster_guard.domain.runs import DESTINATION_BAD, Run
from logcaster_guard.domain.signals import Value
from logcaster_guard.domain.step_observations import PodsNeeded
from logcaster_guard.domain.step_reasons import DoesNotStayUp, EnvironmentWorse
from logcaster_guard.domain.steps import Plan, Purpose, RolloutWait
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.observe import (
    own_pods,
    undisturbed,
)
from logcaster_guard.steps.step_services import Inspector, StepKind, measured

SHORT = 5.0
"""Seconds for which the new environment may be short of pods before the Service is switched back."""


@dataclass(frozen=True, slots=True)
class JudgeEnvironment(RolloutWait):
    """Judge: whether the environment that took over is worse than the one before it.

    Its error rate over the `window` seconds before, looked at `wait` seconds after the switch, is worse above
    `threshold` and above `baseline`, the other's before the switch (both of 1; None: unknown). Fewer than
    `min_requests`, or no data, prove nothing; the judgement of the rules follows.
    """

    wait: float
    window: float
    threshold: float
    baseline: float | None
    min_requests: int
    timeout: float
    kind: Literal["judge_environment"] = "judge_environment"
    inconclusive_if_unseen: ClassVar = True
    purpose: ClassVar = Purpose.PREPARATION

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToJudgeEnvironment(self.wait, f"{self.threshold:.2%}")


@dataclass(slots=True)
class _Watched:
    """Monotonic seconds: when the judgement began, since when pods are missing."""

    began: float
    short: float | None = None


class JudgeEnvironmentHandler:
    """Sees whether the environment that took over is worse; the wait begins anew with a new guard."""

    def __init__(self, cluster: Cluster, clock: Clock, inspector: Inspector) -> None:
        self._cluster = cluster
        self._clock = clock
        self._inspector = inspector
        self._watched: dict[str, _Watched] = {}

    async def observe(self, step: JudgeEnvironment, run: Run) -> Observation:
        """Done when it is no worse, or when it cannot be told; failed when its pods go, or its error rate is worse."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            if theirs is not None or workload is None:
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        now = self._clock.monotonic()
        watched = self._watched.setdefault(run.id, _Watched(now))
        ready, floor = sum(capacity.is_serving(p, None) for p in pods), run.opened.plan.floor
        if ready < floor:
            watched.short = now if watched.short is None else watched.short
            few = PodsNeeded(ready, workload.name, floor)
            if now - watched.short >= min(SHORT, step.wait):
                return Failed(DESTINATION_BAD, DoesNotStayUp(other=True, detail=few))
            return Before(few, overdue=(DESTINATION_BAD, few))
        watched.short = None
        due = max(step.wait, step.window)
        if now - watched.began < due:
            return Before(JudgedIn(0.0, due - (now - watched.began)))
        seen = await self._inspector(run.opened.target, workload.name, step.window)
        rate, requests = seen.error_rate, seen.requests
        if not isinstance(rate, Value) or not isinstance(requests, Value) or requests.number < step.min_requests:
            return Done(WorseUntold(measured(seen)))
        if rate.number > max(step.threshold, step.baseline or 0.0):
            before = Unmeasured() if step.baseline is None else ErrorShare(f"{step.baseline:.2%}")
            return Failed(DESTINATION_BAD, EnvironmentWorse(measured(seen), before))
        return Done(measured(seen))

    async def apply(self, step: JudgeEnvironment, run: Run) -> None:
        """Nothing to do: judging has no effect."""


KIND = StepKind(JudgeEnvironment, lambda c: JudgeEnvironmentHandler(c.cluster, c.clock, c.inspect), compensates=None)
