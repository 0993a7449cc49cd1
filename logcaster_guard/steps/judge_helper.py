"""Judges how the good release's own pods fare before everything is given to them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import capacity
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.external_changes import external_change
from logcaster_guard.domain.measurements import FewerThan, JudgedIn
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToJudgeHelper
from logcaster_guard.domain.runs import DESTINATION_BAD, INCONCLUSIVE, Run
from logcaster_guard.domain.signals import SourceError, Value
from logcaster_guard.domain.step_observations import GoodPodsServe
from logcaster_guard.domain.step_reasons import DoesNotStayUp, FailsToo, FaresUnread, ServesUnknown, TooFewToJudge
from logcaster_guard.domain.steps import (
    Plan,
    Purpose,
    Wait,
)
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.helper_deployment import (
    foreign_helper,
    helper_pods,
)
from logcaster_guard.steps.observe import (
    both,
    deployment_called,
)
from logcaster_guard.steps.step_services import Inspection, Inspector, StepKind, measured

_AGAIN, _LONGEST = 1.0, 60.0
"""Seconds until a source that failed once is read again, and the most of them if it goes on to fail."""


@dataclass(frozen=True, slots=True)
class JudgeHelper(Wait):
    """Judge: the helper's own error rate at this share of the pods.

    `share` is helper / all. Judged `wait` seconds after the step's pods were Ready, on readings that look back `window`
    seconds and no further than that; it is bad above `threshold` (of 1). Fewer than `min_requests` in the window, or
    no data, prove nothing: it is held until `timeout` (seconds) and then stopped.
    """

    helper: str
    share: float
    wait: float
    window: float
    threshold: float
    min_requests: int
    timeout: float
    kind: Literal["judge_helper"] = "judge_helper"
    inconclusive_if_unseen: ClassVar = False
    purpose: ClassVar = Purpose.PREPARATION

    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        return INCONCLUSIVE, ServesUnknown(detail)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToJudgeHelper(self.share, self.wait, f"{self.threshold:.2%}")


@dataclass(frozen=True, slots=True)
class _Failing:
    """What was seen of a source that failed `times` in a row, and the monotonic second to read it again at."""

    times: int
    again: float
    seen: Observation


class JudgeHelperHandler:
    """Judges the helper at one share: bad above the threshold, good below it, and no verdict without enough requests.

    The wait begins anew when a guard is started again, or when a pod of the helper is not Ready any more. A source that
    fails is read again after a pause that grows; `jitter` is random in [0, 1).
    """

    def __init__(
        self, cluster: Cluster, clock: Clock, inspector: Inspector, jitter: Callable[[], float] = random.random
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._inspector = inspector
        self._jitter = jitter
        self._since: dict[str, tuple[int, float]] = {}
        self._failing: dict[str, _Failing] = {}

    async def observe(self, step: JudgeHelper, run: Run) -> Observation:
        """Done, or failed with the destination bad; held while it cannot be told."""
        try:
            workload, service = await both(self._cluster, run)
            theirs = external_change(run, workload, service)
            if theirs is not None or workload is None:
                self._since.pop(run.id, None)
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            helper = await deployment_called(self._cluster, run, step.helper)
            theirs = foreign_helper(run, helper, step.helper, _wanted(step, run), workload)
            if theirs is not None or helper is None:
                return ExternalChange(theirs or WorkloadGone("the helper"))
            pods = await helper_pods(self._cluster, helper)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        now = self._clock.monotonic()
        serving = capacity.serving(pods, run.opened.plan.selector, step.helper)
        if serving < _wanted(step, run):
            self._since.pop(run.id, None)
            few = GoodPodsServe(serving, _wanted(step, run))
            return Before(few, overdue=(DESTINATION_BAD, DoesNotStayUp(other=False, detail=few)))
        index, since = self._since.setdefault(run.id, (run.step, now))
        if index != run.step:
            self._since[run.id] = (run.step, since := now)
            self._failing.pop(run.id, None)
        due = max(step.wait, step.window)
        if now - since < due:
            return Before(JudgedIn(step.share, due - (now - since)))
        failing = self._failing.get(run.id)
        if failing is not None and now < failing.again:
            return failing.seen
        return await self._judged(step, run, 0 if failing is None else failing.times)

    async def _judged(self, step: JudgeHelper, run: Run, failed: int) -> Observation:
        inspection = await self._inspector(run.opened.target, step.helper, step.window)
        seen = self._verdict(step, inspection)
        errors = [r for r in (inspection.error_rate, inspection.requests) if isinstance(r, SourceError)]
        self._failing.pop(run.id, None)
        if errors:
            pause = min(_AGAIN * 2.0 ** min(failed, 30), _LONGEST) * (1 + self._jitter())
            again = self._clock.monotonic() + max(pause, *(e.retry_after or 0.0 for e in errors))
            self._failing[run.id] = _Failing(failed + 1, again, seen)
        return seen

    def _verdict(self, step: JudgeHelper, seen: Inspection) -> Observation:
        told = measured(seen, step.share)
        if not isinstance(seen.error_rate, Value) or not isinstance(seen.requests, Value):
            return Before(told, overdue=(INCONCLUSIVE, FaresUnread(told)))
        if seen.requests.number < step.min_requests:
            few = FewerThan(told, step.min_requests)
            return Before(few, overdue=(INCONCLUSIVE, TooFewToJudge(few)))
        if seen.error_rate.number > step.threshold:
            return Failed(DESTINATION_BAD, FailsToo(told, f"{step.threshold:.2%}"))
        return Done(told)

    async def apply(self, step: JudgeHelper, run: Run) -> None:
        """Nothing to do: judging has no effect."""


def _wanted(step: JudgeHelper, run: Run) -> int:
    """How many pods the helper was given for this step."""
    sizes = [
        getattr(s, "replicas", 0)
        for s in run.opened.plan.steps[: run.step]
        if s.kind == "await_helper" and getattr(s, "helper", "") == step.helper
    ]
    return sizes[-1] if sizes else 1


KIND = StepKind(JudgeHelper, lambda c: JudgeHelperHandler(c.cluster, c.clock, c.inspect), compensates=None)
