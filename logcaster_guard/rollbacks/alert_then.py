"""Alert people first, then roll back the quickest way, unless they say no or the trouble goes away."""

from __future__ import annotations

from dataclasses import replace

from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.steps import Plan
from logcaster_guard.rollbacks import immediate
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import WayBack, only_told
from logcaster_guard.steps.ask_people import AskPeople

BLIND = 600.0
"""Seconds beyond the grace for which a decision is held back at least while nothing can be read."""


def plan(facts: immediate.AnyFacts) -> Plan | NotApplicable:
    """The quickest plan with the question before it; the rule's own grace and approval count before the policy's."""
    quickest = immediate.plan(facts)
    if isinstance(quickest, NotApplicable):
        return quickest
    rule, policy = facts.request.rule, facts.request.policy
    alert = policy.alert
    grace = alert.grace if rule.grace is None else rule.grace
    approval = alert.require_approval if rule.require_approval is None else rule.require_approval
    question = AskPeople(
        rule=rule.name,
        grace=grace,
        require_approval=approval,
        remind_every=alert.remind_every,
        quiet_for=min(grace, policy.verify.stable_for),
        timeout=alert.approval_timeout if approval else grace + max(grace, BLIND),
    )
    return replace(quickest, strategy=WAY.strategy, steps=(question, *quickest.steps))


WAY = WayBack(Action.ALERT_THEN, immediate.gather, plan, take_over=None, otherwise=only_told)
