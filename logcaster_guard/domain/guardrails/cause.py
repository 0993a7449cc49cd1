"""Refusals because no rollout, or another one, caused the breach."""

from __future__ import annotations

from datetime import datetime, timedelta

from logcaster_guard.domain import attribution
from logcaster_guard.domain.attribution import Attribution, Cause
from logcaster_guard.domain.guardrails.decision_context import DecisionContext, Guardrail, Refusal
from logcaster_guard.domain.guardrails.wording import instant, span
from logcaster_guard.domain.ledger import Replacement
from logcaster_guard.domain.rules import Policy


def not_this_rollout(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """Why the breach cannot be put down to the present release's rollout, where the rule asks for that."""
    window = s.rule.rollout_window
    if window is None:
        return []
    rollout = s.ledger.rollout_of(s.onset)
    if rollout is not None and rollout.by_guard is not None:
        present = s.ledger.records.get(rollout.template)
        sentence = (
            f"The present release of {s.target} is the good one that run {rollout.by_guard} went back to: "
            "no new rollout can be the cause. Look at what else changed, a dependency first."
        )
        if present is not None and present.bad_since is not None:
            sentence = (
                f"The present release of {s.target} is bad, and run {rollout.by_guard} itself put it there: roll a "
                "good one out by hand."
            )
        return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, sentence)]
    changed = None if rollout is None else rollout.earliest
    if changed is None:
        sentence = (
            f"Nobody can tell when the present release of {s.target} was rolled out, so the breach since "
            f"{instant(s.onset)} cannot be put down to it: look for another cause, or roll back by hand."
        )
        return [Refusal(Guardrail.ROLLOUT_UNKNOWN, sentence)]
    if s.onset < changed:
        sentence = (
            f"The breach began at {instant(s.onset)}, before the rollout of {instant(changed)}: that rollout is not "
            "its cause. Look at what else changed, a dependency first."
        )
        return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, sentence)]
    replaced = s.ledger.replaced_before(s.onset)
    latest = changed if replaced is None else max(changed, replaced.since)
    if s.onset > latest + timedelta(seconds=window):
        sentence = (
            f"The breach began at {instant(s.onset)}, more than {span(window)} after the last rollout "
            f"({instant(changed)}): a rollout is not its likely cause. Look at what else changed, a dependency first."
        )
        return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, sentence)]
    if replaced is not None:
        return [Refusal(Guardrail.PODS_REPLACED, _replaced(s, replaced, changed, policy.attribution.recent))]
    if s.attribution is None:
        return []
    # Without a destination there is nothing that it would have to be better than.
    pointless = s.attribution.cause is Cause.UNPROVEN and s.ledger.destination(policy.ledger) is None
    return [] if pointless else _attributed(s.target, s.attribution)


def _replaced(s: DecisionContext, replaced: Replacement, changed: datetime, recent: float) -> str:
    """Why the breach is not put down to the release; more than `recent` seconds after it the replacement is no clue."""
    lag = (s.onset - replaced.since).total_seconds()
    which = f"without a new release: annotations of the pod template were changed ({', '.join(replaced.changed)})"
    if lag <= recent:
        return (
            f"The breach began at {instant(s.onset)}, after all pods of {s.target} had been replaced at "
            f"{instant(replaced.since)} {which}. The release had been well before: look at what else changed with "
            "that, its configuration first."
        )
    return (
        f"The breach began at {instant(s.onset)}, {span(lag)} after all pods of {s.target} had been replaced at "
        f"{instant(replaced.since)} {which}. That long after, it may come from what changed with that, from something "
        f"else, or from the release itself, which was rolled out at {instant(changed)}: what it leaks begins anew with "
        "new pods. Look for what has grown since then; if it is the release, roll back by hand."
    )


def _attributed(target: str, found: Attribution) -> list[Refusal]:
    match found.cause:
        case Cause.ROLLOUT:
            return []
        case Cause.OLDER:
            sentence = (
                f"The release of {target} before the present one was in breach too, for {found.past.breached:.0%} of "
                f"the last {span(found.past.seconds)} before the rollout: going back to it would not help. Look at "
                "what else changed, a dependency first."
            )
            return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, sentence)]
        case Cause.UNPROVEN:
            sentence = (
                f"Nobody has seen {target} free of this breach before its rollout ({span(found.past.seconds)} of "
                "values are known, and no release before had earned good on these signals): roll back by hand, or "
                "lower attribution.least_history."
            )
            return [Refusal(Guardrail.HISTORY_TOO_SHORT, sentence)]
        case Cause.SHARED:
            return [Refusal(Guardrail.SHARED_CAUSE, _shared(target, found))]
        case Cause.SEVERAL:
            sentence = (
                f"Several targets breach together, each soon after a rollout of its own, and {target} does not stand "
                f"out from all of them: {attribution.ranking(found)}. Look at a dependency that they share, or roll "
                "back the first by hand."
            )
            return [Refusal(Guardrail.SEVERAL_SUSPECTS, sentence)]


def _shared(target: str, found: Attribution) -> str:
    if found.beside is not None and found.beside.verdict is attribution.Space.ALIKE:
        return (
            f"Old and new pods of {target} fare alike ({found.beside.signal}): the new release is not the cause. Look "
            "at what they share, a dependency or the traffic first."
        )
    return (
        f"Other targets breach at the same moment and {target} does not stand out from them: "
        f"{attribution.ranking(found)}. Look at what they share, a dependency first."
    )
