"""Alert people first, then roll back the quickest way, unless they say no or the trouble goes away."""

from __future__ import annotations

from dataclasses import replace

from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.steps import Plan
from logcaster_guard.steps.ask_people import AskPeople

BLIND = 600.0
"""Seconds beyond the grace for which a decision is held back at least while nothing can be read."""


def plan(quickest: Plan, *, rule: Rule, policy: Policy) -> Plan:
    """The quickest plan with the question before it; the rule's own grace and approval count before the policy's."""
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
    return replace(quickest, strategy="alert_then", steps=(question, *quickest.steps))
