"""Refusals because no rollout, or another one, caused the breach."""

from __future__ import annotations

from datetime import datetime, timedelta

from logcaster_guard.domain.attribution import Attribution, Cause, EditsRead, Space
from logcaster_guard.domain.configuration.pod_starts import CHECKSUMS
from logcaster_guard.domain.evidence import ranking
from logcaster_guard.domain.guardrails.decision_context import DecisionContext, Guardrail, Refusal
from logcaster_guard.domain.guardrails.refusal_messages import (
    BreachBeforeRollout,
    BreachLongAfter,
    EditUnread,
    GuardPutItThere,
    NoQuietPast,
    OthersBreach,
    PodsAlike,
    PodsIndistinct,
    PodsReplacedBefore,
    PodsReplacedLongAgo,
    ReleaseBeforeToo,
    ReleaseIsGood,
    RolloutUnknown,
    SeveralSuspects,
)
from logcaster_guard.domain.ledger import Ledger, ReleaseStatus, Replacement, Rollout
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import Policy


def not_this_rollout(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """Why the breach cannot be put down to the present release's rollout, where the rule asks for that."""
    window = s.rule.rollout_window
    if window is None:
        return []
    rollout = s.ledger.rollout_of(s.onset)
    if rollout is not None and rollout.by_guard is not None:
        status = _status(s.ledger, rollout, policy)
        # What a run has made of two releases is nobody's good one: it is judged like anybody's rollout.
        if status is not ReleaseStatus.UNPROVEN:
            reason = (GuardPutItThere if status is ReleaseStatus.BAD else ReleaseIsGood)(s.target, rollout.by_guard)
            return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, reason)]
    changed = None if rollout is None else rollout.earliest
    if changed is None:
        return [Refusal(Guardrail.ROLLOUT_UNKNOWN, RolloutUnknown(s.target, s.onset))]
    if s.onset < changed:
        return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, BreachBeforeRollout(s.onset, changed))]
    replaced = s.ledger.replaced_before(s.onset)
    latest = changed if replaced is None else max(changed, replaced.since)
    if s.onset > latest + timedelta(seconds=window):
        return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, BreachLongAfter(s.onset, window, changed))]
    if replaced is not None:
        return [Refusal(Guardrail.PODS_REPLACED, _replaced(s, replaced, changed, policy.attribution.recent))]
    if s.attribution is None:
        return []
    # Without a destination there is nothing that it would have to be better than.
    pointless = s.attribution.cause is Cause.UNPROVEN and s.ledger.destination(policy.ledger) is None
    return [] if pointless else _attributed(s.target, s.attribution)


def _status(ledger: Ledger, rollout: Rollout, policy: Policy) -> ReleaseStatus:
    """What is known of the release that was rolled out; while its pods are still to tell, of its template."""
    record = ledger.records.get(rollout.key)
    status = ReleaseStatus.GOOD if record is None else record.status(policy.ledger)
    if record is None or record.configuration or status is not ReleaseStatus.UNPROVEN:
        return status
    same = [r.status(policy.ledger) for r in ledger.records.values() if r.template == record.template]
    return next((found for found in same if found not in {ReleaseStatus.UNPROVEN, ReleaseStatus.BAD}), status)


def _replaced(s: DecisionContext, replaced: Replacement, changed: datetime, recent: float) -> Message:
    """Why the breach is not put down to the release; more than `recent` seconds after it the replacement is no clue."""
    lag = (s.onset - replaced.since).total_seconds()
    # A checksum of what can be read would have become a rollout of its own when pods read that.
    opaque = any(name.startswith(CHECKSUMS) for name in replaced.changed)
    if lag <= recent:
        return PodsReplacedBefore(s.target, s.onset, replaced.since, replaced.changed, opaque)
    return PodsReplacedLongAgo(s.target, s.onset, lag, replaced.since, replaced.changed, changed, opaque)


def _attributed(target: str, found: Attribution) -> list[Refusal]:
    past = found.past
    match found.cause:
        case Cause.ROLLOUT:
            return []
        case Cause.OLDER:
            reason = ReleaseBeforeToo(target, past.breached, past.seconds)
            return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, reason)]
        case Cause.UNPROVEN:
            return [Refusal(Guardrail.HISTORY_TOO_SHORT, NoQuietPast(target, past.seconds))]
        case Cause.SHARED if found.beside is not None and found.beside.verdict is Space.ALIKE:
            return [Refusal(Guardrail.SHARED_CAUSE, PodsAlike(target, found.beside.signal))]
        case Cause.SHARED:
            return [Refusal(Guardrail.SHARED_CAUSE, OthersBreach(target, ranking(found)))]
        case Cause.SEVERAL:
            return [Refusal(Guardrail.SEVERAL_SUSPECTS, SeveralSuspects(target, ranking(found)))]
        case Cause.UNREAD:
            objects = () if found.edits is None else found.edits.objects
            return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, EditUnread(target, objects))]
        case Cause.INDISTINCT:
            return [Refusal(Guardrail.PODS_INDISTINCT, _indistinct(target, found.edits))]


def _indistinct(target: str, edits: EditsRead | None) -> Message:
    if edits is None:
        return PodsIndistinct(target, (), 0, 0, 0)
    return PodsIndistinct(target, edits.objects, len(edits.new), len(edits.old), len(edits.unclear))
