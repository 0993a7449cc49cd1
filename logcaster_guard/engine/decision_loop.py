"""Decides on each fired trigger of one target, and on what follows from the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.events import RunClosed, RunOpened
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.runs import DESTINATION_BAD, Run
from logcaster_guard.domain.steps import Field
from logcaster_guard.domain.triggers import Phase
from logcaster_guard.engine.decisions import Decisions
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.engine.triggers import Trigger, Triggers
from logcaster_guard.engine.watchdog import Watchdog

DECIDE = "decide"
"""The loop's name, for the watchdog."""


class DecisionLoop:
    """Takes a target's fired triggers one after the other, and looks at the workload afresh for each.

    A trigger that cannot be decided on stays fired, and is taken again.
    """

    def __init__(
        self,
        context: TargetContext,
        services: Services,
        *,
        triggers: Triggers,
        revisions: RevisionWatch,
        decisions: Decisions,
        executor: Executor,
    ) -> None:
        self._target = context.target
        self._state = services.state
        self._triggers = triggers
        self._revisions = revisions
        self._decisions = decisions
        self._executor = executor
        self._lines = RecurringLog(services.clock, target=context.target.key)

    async def run(self, watchdog: Watchdog) -> None:
        """Decide until cancelled, and tell `watchdog` of each round."""
        while True:
            for trigger in await self._triggers.fired():
                trigger.undecided = False
                try:
                    await self._decide_or_tell(trigger)
                except JournalUnavailable as error:
                    self._lines.error("journal.unavailable", about=trigger.rule.name, detail=str(error))
            watchdog.made(DECIDE)

    async def _decide_or_tell(self, trigger: Trigger) -> None:
        """Decide on the trigger; one that cannot be decided on for long is told."""
        rule = trigger.rule
        try:
            await self._decide_on(trigger)
        except ClusterError as error:
            self._lines.warning("decision.postponed", about=rule.name, rule=rule.name, detail=str(error))
            if self._triggers.has(trigger) and trigger.state.phase is Phase.FIRING:
                await self._decisions.postponed(rule, self._triggers.onset(trigger), error.reason)
        else:
            self._decisions.decided(rule)

    async def _decide_on(self, trigger: Trigger) -> None:
        triggers = self._triggers
        if not triggers.has(trigger) or triggers.silenced(trigger.rule):
            return
        resets = triggers.resets
        workload = await self._revisions.look()
        if triggers.resets != resets or not triggers.has(trigger) or trigger.state.phase is not Phase.FIRING:
            return
        onset, slower = triggers.onset(trigger), self._state.open_run_on(self._target.key)
        if slower is None:
            await self._decisions.decide(trigger.rule, onset=onset, workload=workload, evidence=trigger.evidence)
            return
        escalated = partial(self._escalated, slower, trigger.rule, onset=onset, evidence=trigger.evidence)
        await self._executor.take_over(slower, escalated)

    async def _escalated(
        self, slower: Run, rule: Rule, *, onset: datetime, evidence: Mapping[str, Reason]
    ) -> RunOpened | None:
        # The write that was under way when the run was made to stand still has had its effect only now.
        workload = await self._revisions.look()
        return await self._decisions.escalated(slower, rule, onset=onset, workload=workload, evidence=evidence)

    async def fall_back(self, run: Run, closed: RunClosed, rungs: int) -> RunOpened | None:
        """The run that follows from the end of `run`, if one may; raises `ClusterError`."""
        rule = self._triggers.rules.get(run.opened.rule)
        falls_back = rule is not None and self._decisions.may_fall_back(closed.outcome, rungs)
        in_place = run.wrote(Field.TEMPLATE)
        stranded = closed.outcome == DESTINATION_BAD and run.verifies and in_place
        # Where nothing can follow, an API server that is away must not keep people from being told.
        if not falls_back and not stranded:
            return None
        workload, following = await self._revisions.look(), None
        if rule is not None and falls_back:
            following = await self._decisions.fallen_back(run, closed, rule=rule, workload=workload)
        if following is None and stranded:
            following = await self._decisions.put_back(run, closed, workload=workload)
        return following
