"""Every reason to refuse, in the order in which people are told."""

from __future__ import annotations

from collections.abc import Sequence

from logcaster_guard.domain.guardrails import cause, limits, moment, target
from logcaster_guard.domain.guardrails.decision_context import DecisionContext, Guardrail, Refusal
from logcaster_guard.domain.guardrails.refusal_messages import NoJournal, OnlyAlert
from logcaster_guard.domain.rules import Action, Policy


def refusals(situation: DecisionContext, policy: Policy) -> Sequence[Refusal]:
    """Every guardrail that forbids the rollback; empty if it may go ahead."""
    if not situation.journal:
        return [*_action(situation), *_unrecorded(situation, policy)]
    return [
        *_action(situation),
        *target.own_workload(situation),
        *target.not_ready_for_it(situation),
        *target.not_yet_observed(situation),
        *(cause.not_this_rollout(situation, policy) if situation.follows is None or situation.escalates else ()),
        *(moment.wrong_moment(situation, policy) if situation.follows is None else ()),
        *moment.frozen(situation.ledger.freeze),
        *moment.vetoed(situation),
        *limits.over_limit(situation, policy),
        *target.no_destination(situation, policy),
        *target.owned(situation, policy),
    ]


def manual_refusals(situation: DecisionContext, policy: Policy) -> Sequence[Refusal]:
    """What keeps even a person's own request from being carried out.

    A person knows better than cause, cooldown and budgets, and than a freeze that the guard put there itself; an owner
    undoes a person's rollback as it does the guard's.
    """
    if not situation.journal:
        return _unrecorded(situation, policy)
    freeze = situation.ledger.freeze
    people = moment.frozen_by_annotation(situation) if freeze is None or freeze.by == "guard" else moment.frozen(freeze)
    return [
        *target.own_workload(situation),
        *target.not_ready_for_it(situation),
        *target.not_yet_observed(situation),
        *people,
        *limits.another_run(situation),
        *target.owned(situation, policy),
    ]


def _action(s: DecisionContext) -> list[Refusal]:
    if s.rule.action is Action.ALERT_ONLY:
        return [Refusal(Guardrail.ALERT_ONLY, OnlyAlert(s.rule.name))]
    return []


def _unrecorded(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """What can be said without a journal: nothing of the target's releases and runs."""
    return [
        *target.own_workload(s),
        *target.not_ready_for_it(s),
        *moment.frozen_by_annotation(s),
        *target.owned(s, policy),
        Refusal(Guardrail.NO_JOURNAL, NoJournal()),
    ]
