"""Refusals because of the runs there were, or are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from logcaster_guard.domain.guardrails.decision_context import DecisionContext, Guardrail, PastRun, Refusal
from logcaster_guard.domain.guardrails.refusal_messages import (
    AnotherRunOpen,
    ClusterBudgetSpent,
    CoolingDown,
    TargetBudgetSpent,
)
from logcaster_guard.domain.rules import Limits, Policy


def over_limit(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """Another run, the cooldown, and the budgets of target and cluster."""
    limits = policy.limits
    mine = [r for r in s.runs if r.target == s.target]
    found = another_run(s)
    # The run that takes over from a slower one is the same rollback, gone on with.
    return found if s.escalates else [*found, *_cooldown(s, mine, limits.cooldown), *_budgets(s, mine, limits)]


def another_run(s: DecisionContext) -> list[Refusal]:
    """Runs of the target that are open, but for the one that the new run would follow."""
    return [
        Refusal(Guardrail.ANOTHER_RUN, AnotherRunOpen(s.target, run.run))
        for run in s.runs
        if run.target == s.target and run.closed is None and run.run != s.follows
    ]


def _cooldown(s: DecisionContext, mine: Sequence[PastRun], cooldown: float) -> list[Refusal]:
    if s.follows is not None:
        return []
    ended = [(_ago(s.now, r.closed, r, r.closed_ago), r.closed) for r in mine if r.closed is not None and r.cools_down]
    ago, last = min(ended, default=(cooldown, s.now))
    if ago >= cooldown:
        return []
    until = s.now + timedelta(seconds=cooldown - ago)
    return [Refusal(Guardrail.COOLDOWN, CoolingDown(s.target, last, until))]


def _budgets(s: DecisionContext, mine: Sequence[PastRun], limits: Limits) -> list[Refusal]:
    found = []
    day = [r for r in mine if r.counts and _ago(s.now, r.opened, r, r.opened_ago) < 86_400]
    if len(day) >= limits.per_target_per_day:
        reason = TargetBudgetSpent(s.target, len(day), limits.per_target_per_day)
        found.append(Refusal(Guardrail.TARGET_BUDGET, reason))
    hour = [r for r in s.runs if r.counts and _ago(s.now, r.opened, r, r.opened_ago) < 3_600]
    if len(hour) >= limits.per_cluster_per_hour:
        found.append(Refusal(Guardrail.CLUSTER_BUDGET, ClusterBudgetSpent(len(hour), limits.per_cluster_per_hour)))
    return found


def _ago(now: datetime, then: datetime, run: PastRun, known: float | None) -> float:
    """Seconds since `then`, an instant of `run`; `known` is what the monotonic clock says of it."""
    # A wall clock that was set back puts the past into the future: it was at least as long ago as this process knows.
    return max(run.known_for, (now - then).total_seconds()) if known is None else known
