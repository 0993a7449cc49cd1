"""The step that waits for people: a veto, an approval, or the end of the time in which they have a say."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from logcaster_guard.domain import inbox
from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.inbox import Denied, Given
from logcaster_guard.domain.runs import (
    NOT_APPROVED,
    SUBSIDED,
    VETOED,
    Before,
    Done,
    Failed,
    Foreign,
    Observation,
    Run,
    Unclear,
)
from logcaster_guard.domain.steps import AskPeople
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.looking import undisturbed
from logcaster_guard.effects.verification import Assessor
from logcaster_guard.ports import Clock, Cluster


@dataclass(slots=True)
class _Asked:
    """`began` and `quiet` are monotonic seconds: when the question was asked, since when the breach is over."""

    began: float
    quiet: float | None = None


class AskPeopleHandler:
    """Reads the workload's annotations. Nothing is rolled back on a breach that is over, or that cannot be seen."""

    def __init__(self, cluster: Cluster, clock: Clock, assess: Assessor) -> None:
        self._cluster = cluster
        self._clock = clock
        self._assess = assess
        self._asked: dict[str, _Asked] = {}
        self._told: set[str] = set()
        self._log = structlog.get_logger()

    async def observe(self, step: AskPeople, run: Run) -> Observation:
        """Done when it is approved, or when nobody objected in time and the rule is still met."""
        try:
            theirs, workload, live = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        asked = [w for w in (workload, live) if w is not None]
        if theirs is not None or not asked:
            return Foreign(theirs or "the workload is gone")
        answers = (self._answered(run, w) for w in asked)
        return next((a for a in answers if a is not None), None) or self._waited(step, run)

    def _answered(self, run: Run, workload: Workload) -> Observation | None:
        frozen = workload.annotations.get(inbox.FREEZE)
        if frozen is not None and not frozen.strip().lower().startswith("false"):
            return Failed(VETOED, f"the target was frozen: {frozen[:200]}")
        veto = self._answer(inbox.VETO, run, workload)
        if veto is not None:
            return Failed(VETOED, f"somebody vetoed it: {veto.words or 'no reason was given'}")
        approval = self._answer(inbox.APPROVE, run, workload)
        return None if approval is None else Done(f"somebody approved it: {approval.words or 'no reason was given'}")

    def _answer(self, annotation: str, run: Run, workload: Workload) -> Given | None:
        value = workload.annotations.get(annotation)
        if value is None:
            return None
        found = inbox.answer(value, run.opened.ticket, self._clock.now())
        if isinstance(found, Denied):
            mark = f"{run.id}/{annotation}/{value}"
            if mark not in self._told:
                self._told.add(mark)
                self._log.warning("answer.denied", annotation=annotation, reason=found.reason)
            return None
        return found

    def _waited(self, step: AskPeople, run: Run) -> Observation:
        now = self._clock.monotonic()
        asked = self._asked.get(run.id)
        if asked is None:
            before = 0.0 if run.started is None else (self._clock.now() - run.started).total_seconds()
            asked = self._asked[run.id] = _Asked(began=now - max(0.0, before))
        assessment = self._assess(run.opened.target, step.rule, float("-inf"))
        if assessment.verdict is not Verdict.NOT_MET:
            asked.quiet = None
        elif asked.quiet is None:
            asked.quiet = now
        left = step.grace - (now - asked.began)
        over = asked.quiet is not None and (now - asked.quiet >= step.quiet_for or left <= 0)
        if over:
            return Failed(SUBSIDED, f"the breach went away by itself: {assessment.detail}")
        if step.require_approval:
            return Before("nobody has approved it yet", overdue=(NOT_APPROVED, "nobody approved it in time"))
        if left > 0:
            return Before(f"{left:.0f} s are left for a veto")
        if assessment.verdict is Verdict.MET:
            return Done("nobody objected in time")
        blind = f"whether the breach goes on cannot be seen: {assessment.detail}"
        return Before(blind, overdue=(NOT_APPROVED, blind))

    async def apply(self, step: AskPeople, run: Run) -> None:
        """Nothing to do: asking is a notice."""
