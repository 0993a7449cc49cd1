"""A rollback that a person asks for: what they agree to, and where it may go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from logcaster_guard.domain.conditions import Comparator, Compare, Number
from logcaster_guard.domain.inbox.commands import Wish
from logcaster_guard.domain.inbox.denials import (
    KnownRelease,
    NoKnownGood,
    NotOneRevision,
    PresentAlready,
    RevisionIsBad,
)
from logcaster_guard.domain.ledger import Ledger, Record, ReleaseStatus
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import LedgerPolicy, Rule
from logcaster_guard.domain.steps import Plan

RULE = "manual"
"""Stands for the rule's name in a run that nobody's rule has asked for."""


def as_rule(wish: Wish) -> Rule:
    """The rule that a strategy plans by: it never fires of itself."""
    never = Compare(Comparator.GT, Number(0.0), Number(1.0))
    return Rule(
        name=RULE,
        text="",
        condition=never,
        duration=0.0,
        action=wish.action,
        rollout_window=None,
        variables=wish.only,
    )


def approval_token(plan: Plan) -> str:
    """What a person agrees to, as 16 hex digits: this way, of this workload, from this release to that one."""
    agreed = (plan.strategy, plan.namespace, plan.deployment, plan.live, plan.origin.key, plan.good.key)
    return hashlib.sha256("/".join(agreed).encode()).hexdigest()[:16]


def destinations(ledger: Ledger, policy: LedgerPolicy, to: str) -> Sequence[Record] | Message:
    """The releases that the wish may go to, the best first, or why there is none."""
    if not to:
        return ledger.destinations(policy) or NoKnownGood(_known(ledger, policy))
    record = named(ledger, policy, to)
    if isinstance(record, Message):
        return record
    if record.release.key == ledger.present:
        return PresentAlready(to)
    if record.status(policy) is ReleaseStatus.BAD:
        return RevisionIsBad(to, record.bad_reason)
    return [record]


def named(ledger: Ledger, policy: LedgerPolicy, name: str) -> Record | Message:
    """The release of this number or hash, or why there is none, or more than one."""
    found = ledger.named(name)
    if len(found) != 1:
        return NotOneRevision(name, bool(found), _known(ledger, policy))
    return found[0]


def _known(ledger: Ledger, policy: LedgerPolicy) -> tuple[KnownRelease, ...]:
    return tuple(KnownRelease(r.name, r.template[:8], r.status(policy)) for r in ledger.records.values())
