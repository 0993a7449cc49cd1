"""Asks people whether a rollback may begin: a freeze, or the end of the time in which they have a say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.inbox.freezes import freeze_on
from logcaster_guard.domain.measurements import BreachUnseen
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToAwaitApproval, ToAwaitVeto
from logcaster_guard.domain.runs import NOT_APPROVED, SUBSIDED, VETOED, Run
from logcaster_guard.domain.step_observations import NotApprovedYet, VetoTimeLeft
from logcaster_guard.domain.step_reasons import BreachWentAway, NobodyApproved, NobodyObjected, TargetWasFrozen
from logcaster_guard.domain.steps import (
    Consultation,
    Look,
    Plan,
    Purpose,
)
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.observe import undisturbed
from logcaster_guard.steps.step_services import Assessment, StepKind


@dataclass(frozen=True, slots=True)
class AskPeople(Look):
    """Ask: people may veto until the deadline, or approve before it.

    `grace` seconds without a veto are consent, unless `require_approval`. `remind_every` is in seconds.
    """

    rule: str
    grace: float
    require_approval: bool
    remind_every: float
    quiet_for: float
    timeout: float
    kind: Literal["ask_people"] = "ask_people"
    inconclusive_if_unseen: ClassVar = False
    purpose: ClassVar = Purpose.PREPARATION

    @property
    def deadline(self) -> float:
        return self.timeout

    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        return NOT_APPROVED, NobodyApproved(detail)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToAwaitApproval() if self.require_approval else ToAwaitVeto(self.grace)

    @property
    def asks(self) -> Consultation | None:
        return Consultation(self.grace, self.require_approval, self.remind_every, self.timeout)


@dataclass(slots=True)
class _Asked:
    """`began` and `quiet` are monotonic seconds: since when people were heard, since when the breach is over."""

    began: float
    quiet: float | None = None


class AskPeopleHandler:
    """Looks for a freeze; answers are heard by the engine.

    Nothing is rolled back on a breach that is over, or that cannot be seen. Silence while no guard was there to hear is
    no consent: after a restart the time for a say begins anew, but for what the journal shows. `goes_on` judges by
    target and rule; a breach of another rule is that rule's affair.
    """

    def __init__(self, cluster: Cluster, clock: Clock, goes_on: Callable[[str, str], Assessment]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._goes_on = goes_on
        self._asked: dict[str, _Asked] = {}

    async def observe(self, step: AskPeople, run: Run) -> Observation:
        """Done when nobody objected in time and the rule is still met; an answer of theirs is in the run already."""
        try:
            theirs, workload, live = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        asked = [w for w in (workload, live) if w is not None]
        if theirs is not None or not asked:
            return ExternalChange(theirs or WorkloadGone("the workload"))
        frozen = next((f for f in (freeze_on(w.annotations) for w in asked) if f is not None), None)
        if frozen is not None:
            return Failed(VETOED, TargetWasFrozen(frozen[:200]))
        return self._waited(step, run)

    def _waited(self, step: AskPeople, run: Run) -> Observation:
        now = self._clock.monotonic()
        asked = self._asked.get(run.id)
        if asked is None:
            asked = self._asked[run.id] = _Asked(began=now - run.witnessed)
        assessment = self._goes_on(run.opened.target, step.rule)
        if assessment.verdict is not Verdict.NOT_MET:
            asked.quiet = None
        elif asked.quiet is None:
            asked.quiet = now
        left = step.grace - (now - asked.began)
        over = asked.quiet is not None and (now - asked.quiet >= step.quiet_for or left <= 0)
        if over:
            return Failed(SUBSIDED, BreachWentAway(assessment.detail))
        if step.require_approval:
            return Before(NotApprovedYet(), overdue=(NOT_APPROVED, NobodyApproved("")))
        if left > 0:
            return Before(VetoTimeLeft(left))
        if assessment.verdict is Verdict.MET:
            return Done(NobodyObjected())
        blind = BreachUnseen(assessment.detail)
        return Before(blind, overdue=(NOT_APPROVED, blind))

    async def apply(self, step: AskPeople, run: Run) -> None:
        """Nothing to do: asking is a notice."""


KIND = StepKind(AskPeople, lambda c: AskPeopleHandler(c.cluster, c.clock, c.goes_on), compensates=None)
