"""Whether a rollout is what a breach comes from: in time, in space, and beside what else breaches at the same moment.

In time, the release before must have been quiet on the same rule. In space, what the new pods show is held against
what shows the effect of everything else: the old pods beside them, or, where none is left, the other targets that
breach at the same moment. The measure is the difference-in-differences (Card and Krueger, American Economic Review
84(4), 1994), on a signal that is worse the higher it is:

    did = (new after - new before) - (other after - other before)

`before` is the level before the rollout, or before the breach of a target without one; old and new pods of one target
share it, so that there `did` is new after - old after. Where a `before` is not known of both, neither is subtracted. A
failing dependency or a peak of traffic moves both sides alike: `did` is about nothing, and nobody is blamed. A release
stands out where

    did >= margin * max(threshold - new before, other after - other before)

so by a share of what it takes to breach, and by as large a share of what the others show (error rates of some pods also
by more than chance). What cannot be compared
(no old pods, too few requests) is inconclusive: it neither blames nor acquits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from logcaster_guard.domain.conditions import (
    And,
    Comparator,
    Compare,
    Condition,
    Negate,
    Not,
    Number,
    Or,
    SignalRef,
)
from logcaster_guard.domain.configuration.edits import Blame
from logcaster_guard.domain.rules import AttributionPolicy, EditAttribution


class Cause(StrEnum):
    """What a breach is put down to."""

    ROLLOUT = "rollout"
    OLDER = "older than the rollout"
    UNPROVEN = "no history"
    SHARED = "shared cause"
    SEVERAL = "several suspects"
    UNREAD = "edit that no pod has read"
    INDISTINCT = "pods indistinct"


class Before(StrEnum):
    """What the rule said before the rollout."""

    QUIET = "quiet"
    BREACHED = "breached"
    UNKNOWN = "unknown"


class Space(StrEnum):
    """What a comparison says of the new release."""

    STANDS_OUT = "stands out"
    ALIKE = "alike"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """A comparison of a signal with a number in a rule's condition; `rising`: it is worse the higher it is."""

    signal: str
    threshold: float
    rising: bool = True


@dataclass(frozen=True, slots=True)
class Level:
    """A signal's number during the breach, and before the rollout if that is known."""

    after: float
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What the rule said before the rollout, on `seconds` of values (`breached` of 1 were met), or by the ledger."""

    before: Before = Before.UNKNOWN
    seconds: float = 0.0
    breached: float = 0.0
    by_ledger: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The new release against something else; `did` and `margin` are in the signal's unit, worse is positive."""

    signal: str
    against: str
    new: Level
    other: Level
    did: float
    margin: float
    verdict: Space


@dataclass(frozen=True, slots=True)
class Witness:
    """Another target (or the one in question) as it is seen at the moment of a decision.

    `breaching`: its own rule on one of the signals is met, or was a moment ago (`recovered`: its levels are the worst
    of then); `onset` is since when. `rolled`: when its present release was rolled out by somebody, None if nobody knows
    or the guard did it. Both are monotonic seconds. `undone`: what is read of it still shows a bad release that a
    rollback, the guard's or a person's, is leaving or has just left.
    """

    target: str
    namespace: str
    breaching: bool = False
    onset: float | None = None
    rolled: float | None = None
    levels: Mapping[str, Level] = field(default_factory=dict)
    undone: bool = False
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Suspect:
    """A target that breaches at the same moment.

    `score` is how many times what it takes to breach it has risen, less the longer after a rollout of its own that
    began; 0 where there was no such rollout (`rolled`).
    """

    target: str
    score: float
    rolled: bool


@dataclass(frozen=True, slots=True)
class EditsRead:
    """That the rollout is one of edits of these `objects`, and what a breach since then can have to do with them.

    `new` are the pods that have read one of them, `old` those that have read none, `unclear` those of which that is not
    known, by name.
    """

    objects: tuple[str, ...]
    blame: Blame
    new: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a decision rests on. `beside` is the comparison with the old pods, `rival` the one with the next suspect.

    `suspects` are all that breach together, the first one first; `watched` counts the other targets looked at. `lag` is
    seconds from the rollout to the breach. `began_with` is the revision of an earlier release than the present one,
    with whose rollout the breach began, empty where it was the present one's. `edits` tells of the rollout where it is
    one of a configuration.
    """

    cause: Cause
    past: Past
    beside: Comparison | None = None
    rival: Comparison | None = None
    suspects: tuple[Suspect, ...] = ()
    watched: int = 0
    lag: float | None = None
    began_with: str = ""
    edits: EditsRead | None = None

    @property
    def accuses(self) -> bool:
        """Whether it shows that the release is bad: its rollout is the cause, and the breach was not there before."""
        return self.cause is Cause.ROLLOUT and self.past.before is Before.QUIET


_WORST = 0.1
"""The share of the time before a rollout that may be in breach without counting against it."""


def yardsticks(condition: Condition, *, negated: bool = False) -> Sequence[Yardstick]:
    """The condition's comparisons of one signal with one number; others have no threshold to measure by."""
    match condition:
        case Not(operand):
            return yardsticks(operand, negated=not negated)
        case And(operands) | Or(operands):
            return [y for o in operands for y in yardsticks(o, negated=negated)]
        case Compare(comparator, left, right):
            if comparator in {Comparator.EQ, Comparator.NE}:
                return []
            above = comparator in {Comparator.GT, Comparator.GE}
            for one, other, rising in ((left, right, above), (right, left, not above)):
                number = _literal(other)
                # A request rate tells how much is asked of a service, not how well it does.
                if isinstance(one, SignalRef) and number is not None and one.name != "request_rate":
                    return [Yardstick(one.name, number, rising is not negated)]
            return []


def _literal(node: object) -> float | None:
    match node:
        case Number(value):
            return value
        case Negate(Number(value)):
            return -value
        case _:
            return None


def judged_past(known: float, met: float, *, by_ledger: bool, policy: AttributionPolicy) -> Past:
    """What `known` seconds of values before the rollout say, `met` of them in breach.

    Too few of them leave it to the ledger: the release before has earned good on this rule's signals, or nobody knows.
    """
    share = met / known if known > 0 else 0.0
    least = policy.least_history or 0.0
    if known > 0 and share > _WORST:
        return Past(Before.BREACHED, known, share)
    if known > 0 and known >= least:
        return Past(Before.QUIET, known, share)
    return Past(Before.QUIET if by_ledger else Before.UNKNOWN, known, share, by_ledger)


def chance(new: float, new_requests: float, other: float, other_requests: float) -> float:
    """By how much two error rates (of 1) may differ by mere chance: three standard errors of their difference.

    Convention: the pooled two-proportion test, p = all failed / all, sqrt(p (1 - p) (1/n + 1/m)).
    """
    pooled = (new * new_requests + other * other_requests) / (new_requests + other_requests)
    return 3.0 * math.sqrt(max(0.0, pooled * (1.0 - pooled)) * (1.0 / new_requests + 1.0 / other_requests))


def compared(
    yardstick: Yardstick, new: Level, other: Level, *, against: str, policy: AttributionPolicy, least: float = 0.0
) -> Comparison:
    """The new release against something else, by the formulas of this module and a margin of at least `least`."""
    sign = 1.0 if yardstick.rising else -1.0
    known = new.before is not None and other.before is not None
    base, baseline = (new.before or 0.0, other.before or 0.0) if known else (0.0, 0.0)
    risen, moved = sign * (new.after - base), sign * (other.after - baseline)
    needed = _needed(yardstick, new.before)
    did, margin = risen - moved, max(policy.margin * max(needed, moved), least)
    breaches = sign * (other.after - yardstick.threshold) > 0
    verdict = Space.INCONCLUSIVE
    if did > 0 and did >= margin:
        verdict = Space.STANDS_OUT
    elif breaches or (known and 0 < policy.margin * needed <= moved):
        verdict = Space.ALIKE
    return Comparison(yardstick.signal, against, new, other, did, margin, verdict)


def _needed(yardstick: Yardstick, before: float | None) -> float:
    """What it takes to breach, from the level before."""
    if before is None:
        return abs(yardstick.threshold)
    return max(0.0, yardstick.threshold - before if yardstick.rising else before - yardstick.threshold)


def strongest(comparisons: Sequence[Comparison]) -> Comparison | None:
    """The comparison that counts: one that stands out, else one that is alike, else any."""
    order = [Space.STANDS_OUT, Space.ALIKE, Space.INCONCLUSIVE]
    return min(comparisons, key=lambda c: order.index(c.verdict), default=None)


def attributed(
    me: Witness,
    others: Sequence[Witness],
    *,
    past: Past,
    beside: Sequence[Comparison],
    measures: Sequence[Yardstick],
    policy: AttributionPolicy,
    edits: EditsRead | None = None,
    indistinct: EditAttribution = EditAttribution.ALERT,
) -> Attribution:
    """What the breach of `me` comes from; it began after the rollout, and both instants are known.

    Breaches together: those of targets of the same namespace, and those anywhere of targets without a recent rollout
    (a breach elsewhere right after a rollout of its own is that rollout's affair). What is explained by a release that
    is being undone tells nothing of a breach right after another rollout. Where the own old pods do not tell, a suspect
    must be the first by score and stand out from each of the others.

    Where `edits` were rolled out and pods of both kinds live, or may live, those that have read them must stand out;
    `indistinct` decides where that cannot be told.
    """
    together = [w for w in others if _together(me, w, policy)]
    ranked = sorted((_suspect(w, measures, policy) for w in (me, *together)), key=lambda s: (-s.score, s.target))
    own, lag = strongest(beside), _lag(me)
    found = Attribution(Cause.ROLLOUT, past, own, suspects=tuple(ranked), watched=len(others), lag=lag, edits=edits)
    by_itself = _by_itself(found, policy, indistinct)
    if by_itself is not None or not together:
        return replace(found, cause=by_itself or Cause.ROLLOUT)
    rivals = [strongest(_against(me, w, measures, policy)) for w in together]
    nearest = min((r for r in rivals if r is not None), key=lambda r: r.did - r.margin, default=None)
    stands_out = all(r is not None and r.verdict is Space.STANDS_OUT for r in rivals)
    return replace(found, cause=_among(found.suspects, me, stands_out=stands_out), rival=nearest)


def _by_itself(found: Attribution, policy: AttributionPolicy, indistinct: EditAttribution) -> Cause | None:
    """What the target's own history and pods tell; None where they leave it to the other targets."""
    blame = None if found.edits is None else found.edits.blame
    if blame is Blame.NOT_READ:
        return Cause.UNREAD
    if found.past.before is Before.BREACHED:
        return Cause.OLDER
    if found.past.before is Before.UNKNOWN and policy.least_history is not None:
        return Cause.UNPROVEN
    own = None if found.beside is None else found.beside.verdict
    if own is Space.STANDS_OUT:
        return Cause.ROLLOUT
    if own is Space.ALIKE:
        return Cause.SHARED
    both = blame in {Blame.COMPARE, Blame.INDISTINCT}
    return Cause.INDISTINCT if both and indistinct is EditAttribution.ALERT else None


def _among(suspects: Sequence[Suspect], me: Witness, *, stands_out: bool) -> Cause:
    """Who of several that breach together is to blame: `me`, if it stands out from all others and is the first."""
    if stands_out and suspects[0].target == me.target:
        return Cause.ROLLOUT
    return Cause.SEVERAL if all(s.rolled for s in suspects) else Cause.SHARED


def _against(
    me: Witness, other: Witness, measures: Sequence[Yardstick], policy: AttributionPolicy
) -> Sequence[Comparison]:
    return [
        compared(y, me.levels[y.signal], other.levels[y.signal], against=other.target, policy=policy)
        for y in measures
        if y.signal in me.levels and y.signal in other.levels
    ]


def _together(me: Witness, other: Witness, policy: AttributionPolicy) -> bool:
    if not other.breaching or other.onset is None or me.onset is None:
        return False
    if abs(other.onset - me.onset) > policy.together or (other.undone and _recent(me, policy)):
        return False
    return other.namespace == me.namespace or not _recent(other, policy)


def _recent(witness: Witness, policy: AttributionPolicy) -> bool:
    lag = _lag(witness)
    return lag is not None and 0 <= lag <= policy.recent


def _lag(witness: Witness) -> float | None:
    """Seconds from the rollout to the breach."""
    if witness.onset is None or witness.rolled is None:
        return None
    return witness.onset - witness.rolled


def _suspect(witness: Witness, measures: Sequence[Yardstick], policy: AttributionPolicy) -> Suspect:
    recent = _recent(witness, policy)
    if not recent:
        return Suspect(witness.target, 0.0, rolled=False)
    rises = [
        _rise(y, witness.levels[y.signal]) / needed
        for y in measures
        if y.signal in witness.levels and (needed := _needed(y, witness.levels[y.signal].before)) > 0
    ]
    # Half as much after `together` seconds, a third after twice as many.
    nearness = 1.0 / (1.0 + (_lag(witness) or 0.0) / policy.together)
    return Suspect(witness.target, round(max(rises, default=1.0) * nearness, 2), rolled=True)


def _rise(yardstick: Yardstick, level: Level) -> float:
    return (level.after - (level.before or 0.0)) * (1.0 if yardstick.rising else -1.0)
