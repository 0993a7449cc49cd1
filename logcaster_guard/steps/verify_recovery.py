"""Judges whether a rollback helped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.measurements import QuietSoFar
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation
from logcaster_guard.domain.plan_lines import ToVerifyRecovery
from logcaster_guard.domain.runs import INCONCLUSIVE, NOT_RECOVERED, Run
from logcaster_guard.domain.step_reasons import QuietFor, RecoveryNotShown, StillInBreach
from logcaster_guard.domain.steps import (
    Plan,
    Purpose,
    Wait,
)
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.observe import look
from logcaster_guard.steps.step_services import Assessor, StepKind


@dataclass(frozen=True, slots=True)
class VerifyRecovery(Wait):
    """Judge: quiet for `stable_for` seconds within `timeout` seconds, on readings from after the rollout."""

    rule: str
    stable_for: float
    timeout: float
    kind: Literal["verify_recovery"] = "verify_recovery"
    inconclusive_if_unseen: ClassVar = False
    purpose: ClassVar = Purpose.VERIFICATION

    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        return INCONCLUSIVE, RecoveryNotShown(detail)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToVerifyRecovery(self.stable_for, self.timeout)


@dataclass(slots=True)
class _Quiet:
    since: float
    last: float
    proven: float = 0.0
    verdict: Verdict = Verdict.UNKNOWN


class VerifyRecoveryHandler:
    """Waits until the target was quiet for long enough after the rollout ended.

    Quiet time is counted anew when a guard is started again. Unknown time is not counted; a breach starts the count
    again.
    """

    def __init__(self, cluster: Cluster, clock: Clock, assess: Assessor, staleness: float) -> None:
        self._cluster = cluster
        self._clock = clock
        self._assess = assess
        self._staleness = staleness
        self._quiet: dict[str, _Quiet] = {}

    async def observe(self, step: VerifyRecovery, run: Run) -> Observation:
        """Done when quiet for `stable_for`; failed when the time is up and the rules are still breached."""
        looked = await look(self._cluster, run)
        if isinstance(looked, ExternalChange):
            self._quiet.pop(run.id, None)
            return looked
        if not isinstance(looked, Done):
            return looked
        now = self._clock.monotonic()
        quiet = self._quiet.get(run.id)
        if quiet is None:
            quiet = self._quiet[run.id] = _Quiet(since=now, last=now)
        assessment = self._assess(run.opened.target, step.rule, quiet.since)
        self._count(quiet, assessment.verdict, now)
        if quiet.proven >= step.stable_for:
            del self._quiet[run.id]
            return Done(QuietFor(quiet.proven, assessment.detail))
        seen = QuietSoFar(quiet.proven, step.stable_for, assessment.detail)
        if assessment.verdict is Verdict.MET:
            return Before(seen, overdue=(NOT_RECOVERED, StillInBreach(assessment.detail)))
        return Before(seen)

    def _count(self, quiet: _Quiet, verdict: Verdict, now: float) -> None:
        if verdict is Verdict.MET:
            quiet.proven = 0.0
        elif verdict is quiet.verdict is Verdict.NOT_MET and now - quiet.last <= self._staleness:
            quiet.proven += now - quiet.last
        quiet.last, quiet.verdict = now, verdict

    async def apply(self, step: VerifyRecovery, run: Run) -> None:
        """Nothing to do: judging has no effect."""


KIND = StepKind(
    VerifyRecovery, lambda c: VerifyRecoveryHandler(c.cluster, c.clock, c.assess, c.staleness), compensates=None
)
