"""The life of a trigger: `inactive → pending → firing → cooling down`, as a pure state machine.

A trigger that would be shown as inactive is shown as blind while its rule sees nothing.

Invariant: a trigger fires only at an instant at which its condition was freshly read as met, and only when at least
`duration` seconds before it were proven met: by readings not more than `staleness` apart, or by range data. Unknown
time is never credited. All instants are seconds on the guard's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from logcaster_guard.domain.conditions import Judgement, Verdict
from logcaster_guard.domain.rules import Rule


class Phase(StrEnum):
    """Where a trigger is in its life."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    COOLING_DOWN = "cooling down"
    BLIND = "blind"


class Change(StrEnum):
    """What an evaluation did to a trigger."""

    PENDING = "pending"
    FIRED = "fired"
    RECOVERED = "recovered"
    DATA_LOST = "no data"


@dataclass(frozen=True, slots=True)
class TriggerState:
    """A rule on a target.

    `onset`: when the present breach began. `credit`: seconds proven met of the rule's duration, counted up to
    `credited_to`, which only an inactive trigger does not have. `interrupted`: something unknown lies between
    `credited_to` and now. `quiet_at`: when the condition was last known not to be met. `gap_from`: since when the
    source answers without a number. `restored`: rebuilt from the journal and not yet met in this process.
    `cooling_until`: only shown, the guardrail decides.
    """

    phase: Phase = Phase.INACTIVE
    onset: float | None = None
    credit: float = 0.0
    credited_to: float | None = None
    interrupted: bool = False
    known_at: float | None = None
    quiet_at: float | None = None
    gap_from: float | None = None
    restored: bool = False
    cooling_until: float | None = None

    def phase_at(self, now: float) -> Phase:
        """The phase as people are shown it."""
        if self.phase is Phase.INACTIVE and self.cooling_until is not None and now < self.cooling_until:
            return Phase.COOLING_DOWN
        return self.phase

    def due_at(self, rule: Rule) -> float | None:
        """When the rule's duration will be full if the condition stays met; None unless that is foreseeable."""
        if self.phase is not Phase.PENDING or self.interrupted or self.credited_to is None:
            return None
        return self.credited_to + max(0.0, rule.duration - self.credit)

    def unproven_since(self, now: float, staleness: float) -> float | None:
        """Start of the stretch up to `now` that only range data could credit; None if readings cover it."""
        if self.credited_to is None:
            return None
        return self.credited_to if self.interrupted or now - self.credited_to > staleness else None


@dataclass(frozen=True, slots=True)
class Sample:
    """A condition's value at an instant of range data."""

    at: float
    verdict: Verdict


def advance(
    state: TriggerState, rule: Rule, judgement: Judgement, *, now: float, staleness: float, fresh: bool
) -> tuple[TriggerState, Change | None]:
    """The state after an evaluation at `now`.

    `fresh`: every reading that the condition uses was taken for this evaluation. Where range data covers unproven time,
    call `backfill` (or `refine`, for a new breach) around this.
    """
    match judgement.verdict:
        case Verdict.NOT_MET:
            return _quiet(state, now)
        case Verdict.UNKNOWN:
            return _unknown(state, judgement, now, staleness)
        case Verdict.MET:
            return _met(state, rule, now, staleness, fresh)


def _quiet(state: TriggerState, now: float) -> tuple[TriggerState, Change | None]:
    change = None if state.phase is Phase.INACTIVE else Change.RECOVERED
    return TriggerState(known_at=now, quiet_at=now, cooling_until=state.cooling_until), change


def _unknown(
    state: TriggerState, judgement: Judgement, now: float, staleness: float
) -> tuple[TriggerState, Change | None]:
    if judgement.blind:
        return replace(state, interrupted=True, gap_from=None), None
    since = state.gap_from
    if since is None:
        since = now if state.interrupted or state.known_at is None else state.known_at
    if state.phase is not Phase.INACTIVE and now - since > staleness:
        lost = TriggerState(known_at=state.known_at, quiet_at=state.quiet_at, cooling_until=state.cooling_until)
        return replace(lost, interrupted=True, gap_from=since), Change.DATA_LOST
    return replace(state, interrupted=True, gap_from=since), None


def _met(
    state: TriggerState, rule: Rule, now: float, staleness: float, fresh: bool
) -> tuple[TriggerState, Change | None]:
    if state.credited_to is None:
        begun = replace(
            state, phase=Phase.PENDING, onset=now, credit=0.0, credited_to=now, interrupted=False, known_at=now,
            gap_from=None, restored=False,
        )  # fmt: skip
        return begun, Change.PENDING
    unproven = state.unproven_since(now, staleness) is not None
    credit = state.credit if unproven else state.credit + (now - state.credited_to)
    if unproven and state.restored:
        credit = 0.0
    counted = replace(
        state, credit=credit, credited_to=now, interrupted=False, known_at=now, gap_from=None, restored=False
    )
    if counted.phase is Phase.PENDING and fresh and _full(credit, rule):
        return replace(counted, phase=Phase.FIRING), Change.FIRED
    return counted, None


def _full(credit: float, rule: Rule) -> bool:
    # A timer set for the due instant may wake a rounding error early.
    return credit >= rule.duration - 1e-6


def backfill(state: TriggerState, samples: Sequence[Sample], *, step: float) -> TriggerState:
    """Credit the unproven stretch with what range data shows, up to the last sample.

    A sample that was not met ends the breach: onset and credit start again after it, and what was firing is pending.
    Neighbouring met samples count as one stretch if they are at most one and a half steps apart.
    """
    phase, onset, credit = state.phase, state.onset, state.credit
    reached = state.credited_to
    for sample in samples:
        if state.credited_to is not None and sample.at < state.credited_to:
            continue
        if sample.verdict is Verdict.NOT_MET:
            phase, onset, credit, reached = Phase.PENDING, None, 0.0, None
        elif sample.verdict is Verdict.UNKNOWN:
            reached = None
        else:
            onset = sample.at if onset is None else onset
            if reached is not None and sample.at - reached <= step * 1.5:
                credit += sample.at - reached
            elif state.restored:
                credit = 0.0
            reached = sample.at
    last = samples[-1] if samples else None
    if last is None:
        return state
    proven = last.verdict is Verdict.MET
    return replace(
        state,
        phase=phase,
        onset=last.at if onset is None else onset,
        credit=credit,
        credited_to=last.at if proven else state.credited_to,
        interrupted=not proven,
        restored=state.restored and not proven,
    )


def refine(
    state: TriggerState, samples: Sequence[Sample], *, step: float, now: float, hole: float, credit_from: float
) -> TriggerState:
    """Move the onset of a breach first read at `now` back to the earliest met sample of the same breach.

    Time is credited between met samples at most one and a half steps apart. A hole of at most `hole` seconds credits
    nothing and does not move the onset, just as it would not have while somebody looked. Nothing before `credit_from`
    is credited.
    """
    quiet_at = float("-inf") if state.quiet_at is None else state.quiet_at
    onset, credit, floor = now, 0.0, max(credit_from, quiet_at)
    for at in _back_to_not_met(samples, now, max(hole, step * 1.5)):
        credit += max(0.0, onset - max(at, floor)) if onset - at <= step * 1.5 else 0.0
        onset = at
    return replace(state, onset=max(onset, quiet_at), credit=credit)


def earlier_onset(state: TriggerState, samples: Sequence[Sample], *, step: float, hole: float) -> TriggerState:
    """Move the onset further back over coarser samples, without crediting their time."""
    if state.onset is None:
        return state
    found = list(_back_to_not_met(samples, state.onset, max(hole, step * 2.5)))
    return replace(state, onset=found[-1] if found else state.onset)


def _back_to_not_met(samples: Sequence[Sample], since: float, hole: float) -> Iterator[float]:
    """The met instants before `since`, newest first, until one that was not met or a hole longer than `hole`."""
    for sample in reversed([s for s in samples if s.at <= since]):
        if sample.verdict is Verdict.NOT_MET or since - sample.at > hole:
            return
        if sample.verdict is Verdict.MET:
            since = sample.at
            yield since


def restart_clock(state: TriggerState, at: float) -> TriggerState:
    """Somebody changed the pod template at `at`: theirs gets the whole duration, the onset stays what it was."""
    if state.phase is Phase.INACTIVE:
        return state
    return replace(state, phase=Phase.PENDING, credit=0.0, credited_to=at, interrupted=True)


def after_run(now: float, cooldown: float) -> TriggerState:
    """The state when a run on the target has ended: nothing of before counts."""
    return TriggerState(quiet_at=now, cooling_until=now + cooldown)


def restored(rule: Rule, *, onset: float, fired_at: float | None) -> TriggerState:
    """The state as the journal tells it: pending since `onset`, or fired at `fired_at`.

    It fires again only on a fresh reading; the time since is credited by range data, or by readings if the guard was
    away for less than the staleness.
    """
    return TriggerState(
        phase=Phase.PENDING,
        onset=onset,
        credit=0.0 if fired_at is None else rule.duration,
        credited_to=onset if fired_at is None else fired_at,
        restored=True,
    )
