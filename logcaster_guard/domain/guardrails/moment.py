"""Refusals because this is the wrong moment, whatever the cause."""

from __future__ import annotations

from logcaster_guard.domain.evidence import shown
from logcaster_guard.domain.guardrails.decision_context import DecisionContext, Guardrail, Refusal
from logcaster_guard.domain.guardrails.refusal_messages import (
    Frozen,
    InMaintenance,
    SomebodyRollsOut,
    TooFewRequests,
    Vetoed,
)
from logcaster_guard.domain.inbox.annotations import FREEZE
from logcaster_guard.domain.inbox.freezes import BY_ANNOTATION, LIFTED, freeze_on
from logcaster_guard.domain.ledger import Freeze
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.signals import Unit, Value


def wrong_moment(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """Too little traffic, a rollout that somebody is at, a maintenance window."""
    return [*_traffic(s, policy), *_rollout(s), *_maintenance(s, policy)]


def _traffic(s: DecisionContext, policy: Policy) -> list[Refusal]:
    least = policy.min_request_rate(s.rule)
    if least is None or (isinstance(s.request_rate, Value) and s.request_rate.number >= least):
        return []
    seen = shown(s.request_rate.number, Unit.COUNT) if isinstance(s.request_rate, Value) else ""
    return [Refusal(Guardrail.MINIMUM_REQUEST_RATE, TooFewRequests(s.target, seen, least))]


def _rollout(s: DecisionContext) -> list[Refusal]:
    """A rollout under way that is not the one the breach is put down to: somebody is at it.

    Where the cause is asked for, such a breach is older than the rollout, and is refused as that too.
    """
    rollout, workload = s.ledger.rollout, s.workload
    changed = None if rollout is None else rollout.earliest
    if workload is None or rollout is None or changed is None or changed <= s.onset:
        return []
    if s.rule.rollout_window is not None and rollout.by_guard is not None:
        return []  # It is the guard's own, and told as that.
    if workload.rolled_out or workload.progress_deadline_exceeded or workload.paused:
        return []
    return [Refusal(Guardrail.ROLLOUT_IN_PROGRESS, SomebodyRollsOut(s.target, changed, workload.progress))]


def _maintenance(s: DecisionContext, policy: Policy) -> list[Refusal]:
    found = []
    for window in policy.maintenance:
        until = window.open_until(s.now) if window.applies_to(s.name) else None
        if until is not None:
            found.append(Refusal(Guardrail.MAINTENANCE, InMaintenance(s.target, window.name, until)))
    return found


def frozen(freeze: Freeze | None) -> list[Refusal]:
    """A freeze of the target, as the journal tells it."""
    if freeze is None:
        return []
    return [Refusal(Guardrail.FROZEN, Frozen(freeze.at, freeze.by, freeze.who, freeze.reason, FREEZE, LIFTED))]


def vetoed(s: DecisionContext) -> list[Refusal]:
    """A person's veto, which holds for the present release."""
    veto = s.ledger.veto
    if veto is None or veto.key != s.ledger.present or s.now >= veto.until:
        return []
    return [Refusal(Guardrail.VETOED, Vetoed(s.target, veto.until, veto.words))]


def frozen_by_annotation(s: DecisionContext) -> list[Refusal]:
    """A person's freeze that the journal does not tell, because the guard had frozen the target before."""
    reason = None if s.workload is None else freeze_on(s.workload.annotations)
    return [] if reason is None else frozen(Freeze(s.now, BY_ANNOTATION, reason))
