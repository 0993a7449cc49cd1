"""Reasons to refuse a rollback. Each is one sentence that says what was found and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from logcaster_guard.domain import attribution, inbox
from logcaster_guard.domain.attribution import Attribution, Cause
from logcaster_guard.domain.gitops import GitOps, Owner, owner_of
from logcaster_guard.domain.ledger import Freeze, Ledger, Record
from logcaster_guard.domain.rules import Action, Limits, Policy, Rule
from logcaster_guard.domain.runs import ESCALATED, SUBSIDED
from logcaster_guard.domain.signals import Reading, Unit, Value
from logcaster_guard.domain.workload import Workload


class Guardrail(StrEnum):
    """Names of the refusals, as logs and documents use them."""

    ALERT_ONLY = "alert_only"
    OWN_WORKLOAD = "own_workload"
    TARGET_MISSING = "target_missing"
    BEING_DELETED = "being_deleted"
    PAUSED = "paused"
    NOT_YET_OBSERVED = "not_yet_observed"
    ROLLOUT_UNKNOWN = "rollout_unknown"
    NOT_CAUSED_BY_A_ROLLOUT = "not_caused_by_a_rollout"
    HISTORY_TOO_SHORT = "history_too_short"
    SHARED_CAUSE = "shared_cause"
    SEVERAL_SUSPECTS = "several_suspects"
    MINIMUM_REQUEST_RATE = "minimum_request_rate"
    ROLLOUT_IN_PROGRESS = "rollout_in_progress"
    MAINTENANCE = "maintenance"
    FROZEN = "frozen"
    ANOTHER_RUN = "another_run"
    COOLDOWN = "cooldown"
    TARGET_BUDGET = "target_budget"
    CLUSTER_BUDGET = "cluster_budget"
    NO_GOOD_REVISION = "no_good_revision"
    NO_JOURNAL = "no_journal"
    GITOPS_OWNER = "gitops_owner"
    STRATEGY_UNFIT = "strategy_unfit"
    DRY_RUN = "dry_run"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guardrail that holds, and why."""

    guardrail: Guardrail
    sentence: str


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run as the limits count it: when it opened, and when it closed (None while it is open).

    `touched`: it changed something, so that it counts as a rollback. `opened_ago` and `closed_ago` are seconds on the
    guard's monotonic clock; None if that was before this process, so that only the instants can tell.
    """

    run: str
    target: str
    opened: datetime
    closed: datetime | None
    touched: bool = True
    outcome: str = ""
    opened_ago: float | None = None
    closed_ago: float | None = None

    @property
    def counts(self) -> bool:
        """Whether it uses up a budget: it is open or has changed something, and no other run took it over."""
        return (self.closed is None or self.touched) and self.outcome != ESCALATED

    @property
    def cools_down(self) -> bool:
        """Whether the cooldown begins with its end: not where the breach went away before anything was changed."""
        return self.outcome not in {SUBSIDED, ESCALATED}


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a decision to roll back rests on, at `now`.

    `onset` is when the breach began; `workload` is None if there is no Deployment; `runs` are those of every target.
    `follows` is the run that the new one would take the place of: after its end (a fallback, whose cause is known), or
    in the middle of it (`escalates`). `name` is the target's in the settings. `attribution` is what the breach was put
    down to, None where that was not looked into; `request_rate` the latest reading of that signal. `gitops` is what the
    target has in place of the policy's; `bad_commit` the revision that the workload's owner rolled out, or why it
    cannot be read (None: nobody has looked). `own`: the guard runs in the workload's pods, and is not meant to.
    """

    rule: Rule
    target: str
    onset: datetime
    now: datetime
    workload: Workload | None
    ledger: Ledger
    runs: Sequence[PastRun]
    follows: str | None = None
    escalates: bool = False
    name: str = ""
    attribution: Attribution | None = None
    request_rate: Reading | None = None
    gitops: GitOps | None = None
    bad_commit: str | None = None
    own: bool = False


def refusals(situation: Situation, policy: Policy) -> Sequence[Refusal]:
    """Every guardrail that forbids the rollback; empty if it may go ahead."""
    return [
        *_action(situation),
        *_own(situation),
        *_workload(situation),
        *(_cause(situation, policy) if situation.follows is None or situation.escalates else ()),
        *(_circumstances(situation, policy) if situation.follows is None else ()),
        *_freeze(situation.ledger.freeze),
        *_limits(situation, policy),
        *_destination(situation, policy),
        *_owner(situation, policy),
    ]


def manual_refusals(situation: Situation, policy: Policy) -> Sequence[Refusal]:
    """What keeps even a person's own request from being carried out.

    A person knows better than cause, cooldown and budgets, and than a freeze that the guard put there itself; an owner
    undoes a person's rollback as it does the guard's.
    """
    freeze = situation.ledger.freeze
    people = _annotated(situation) if freeze is None or freeze.by == "guard" else _freeze(freeze)
    return [*_own(situation), *_workload(situation), *people, *_another_run(situation), *_owner(situation, policy)]


def _annotated(s: Situation) -> list[Refusal]:
    """A person's freeze that the journal does not tell, because the guard had frozen the target before."""
    words = None if s.workload is None else s.workload.annotations.get(inbox.FREEZE)
    return _freeze(Freeze(s.now, "annotation", words)) if words is not None and inbox.is_freeze(words) else []


def _action(s: Situation) -> list[Refusal]:
    if s.rule.action is Action.ALERT_ONLY:
        return [Refusal(Guardrail.ALERT_ONLY, f"Rule {s.rule.name} asks for an alert only.")]
    return []


def _own(s: Situation) -> list[Refusal]:
    if not s.own or s.workload is None:
        return []
    sentence = (
        f"{s.workload.kind} {s.workload.namespace}/{s.workload.name} is the guard's own workload, and rolling it back "
        "would end the guard in the middle: run the guard in a workload of its own, or with mode: sidecar."
    )
    return [Refusal(Guardrail.OWN_WORKLOAD, sentence)]


def _workload(s: Situation) -> list[Refusal]:
    if s.workload is None:
        return [Refusal(Guardrail.TARGET_MISSING, f"Deployment {s.target} does not exist.")]
    found = []
    if s.workload.deleting:
        found.append(Refusal(Guardrail.BEING_DELETED, f"Deployment {s.target} is being deleted."))
    if s.workload.paused:
        sentence = f"Deployment {s.target} is paused: resume it if the guard is to act."
        found.append(Refusal(Guardrail.PAUSED, sentence))
    if s.workload.hash != s.ledger.present or s.workload.uid != s.ledger.uid:
        sentence = f"The pod template of {s.target} changed a moment ago and has not been looked at yet."
        found.append(Refusal(Guardrail.NOT_YET_OBSERVED, sentence))
    return found


def _cause(s: Situation, policy: Policy) -> list[Refusal]:
    window = s.rule.rollout_window
    if window is None:
        return []
    if s.ledger.restored_by is not None:
        sentence = (
            f"The present release of {s.target} is the good one that run {s.ledger.restored_by} went back to: "
            "no new rollout can be the cause. Look at what else changed, a dependency first."
        )
        return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, sentence)]
    changed = s.ledger.changed_earliest
    if changed is None:
        sentence = (
            f"Nobody can tell when the present release of {s.target} was rolled out, so the breach since "
            f"{_text(s.onset)} cannot be put down to it: look for another cause, or roll back by hand."
        )
        return [Refusal(Guardrail.ROLLOUT_UNKNOWN, sentence)]
    if s.onset < changed:
        sentence = (
            f"The breach began at {_text(s.onset)}, before the rollout of {_text(changed)}: that rollout is not its "
            "cause. Look at what else changed, a dependency first."
        )
        return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, sentence)]
    if s.onset > changed + timedelta(seconds=window):
        sentence = (
            f"The breach began at {_text(s.onset)}, more than {span(window)} after the last rollout "
            f"({_text(changed)}): a rollout is not its likely cause. Look at what else changed, a dependency first."
        )
        return [Refusal(Guardrail.NOT_CAUSED_BY_A_ROLLOUT, sentence)]
    if s.attribution is None:
        return []
    # Without a destination there is nothing that it would have to be better than.
    pointless = s.attribution.cause is Cause.UNPROVEN and s.ledger.destination(policy.ledger) is None
    return [] if pointless else _attributed(s.target, s.attribution)


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


def _circumstances(s: Situation, policy: Policy) -> list[Refusal]:
    """What makes this the wrong moment, whatever the cause."""
    return [*_traffic(s, policy), *_rollout(s), *_maintenance(s, policy)]


def _traffic(s: Situation, policy: Policy) -> list[Refusal]:
    least = policy.min_request_rate(s.rule)
    if least is None or (isinstance(s.request_rate, Value) and s.request_rate.number >= least):
        return []
    seen = "an unknown number of"
    if isinstance(s.request_rate, Value):
        seen = attribution.shown(s.request_rate.number, Unit.COUNT)
    sentence = (
        f"{s.target} has {seen} requests per second, and fewer than {least:g} prove too little (min_request_rate): "
        "look at it yourself, or lower the limit."
    )
    return [Refusal(Guardrail.MINIMUM_REQUEST_RATE, sentence)]


def _rollout(s: Situation) -> list[Refusal]:
    """A rollout under way that is not the one the breach is put down to: somebody is at it.

    Where the cause is asked for, such a breach is older than the rollout, and is refused as that.
    """
    changed, workload = s.ledger.changed_earliest, s.workload
    if s.rule.rollout_window is not None or workload is None or changed is None or changed <= s.onset:
        return []
    if workload.rolled_out or workload.progress_deadline_exceeded:
        return []
    sentence = (
        f"Somebody has been rolling out another release of {s.target} since {_text(changed)}, after the breach began "
        f"({workload.progress}): let it end, or undo it by hand."
    )
    return [Refusal(Guardrail.ROLLOUT_IN_PROGRESS, sentence)]


def _maintenance(s: Situation, policy: Policy) -> list[Refusal]:
    found = []
    for window in policy.maintenance:
        until = window.open_until(s.now) if window.applies_to(s.name) else None
        if until is not None:
            sentence = (
                f"The maintenance window {window.name} of {s.target} is open until {_text(until)}: it is decided again "
                "then, if the breach goes on."
            )
            found.append(Refusal(Guardrail.MAINTENANCE, sentence))
    return found


def _freeze(freeze: Freeze | None) -> list[Refusal]:
    if freeze is None:
        return []
    sentence = (
        f"The target is frozen since {_text(freeze.at)} by {freeze.by} ({freeze.reason}): change the "
        'annotation guard.logcaster.io/freeze to a value that begins with "false" to lift it.'
    )
    return [Refusal(Guardrail.FROZEN, sentence)]


def _limits(s: Situation, policy: Policy) -> list[Refusal]:
    limits = policy.limits
    mine = [r for r in s.runs if r.target == s.target]
    found = _another_run(s)
    # The run that takes over from a slower one is the same rollback, gone on with.
    return found if s.escalates else [*found, *_cooldown(s, mine, limits.cooldown), *_budgets(s, mine, limits)]


def _another_run(s: Situation) -> list[Refusal]:
    return [
        Refusal(Guardrail.ANOTHER_RUN, f"Run {run.run} of {s.target} is still open.")
        for run in s.runs
        if run.target == s.target and run.closed is None and run.run != s.follows
    ]


def _cooldown(s: Situation, mine: Sequence[PastRun], cooldown: float) -> list[Refusal]:
    if s.follows is not None:
        return []
    ended = [(_ago(s.now, r.closed, r.closed_ago), r.closed) for r in mine if r.closed is not None and r.cools_down]
    ago, last = min(ended, default=(cooldown, s.now))
    if ago >= cooldown:
        return []
    until = s.now + timedelta(seconds=cooldown - ago)
    sentence = f"The last rollback of {s.target} ended at {_text(last)}; the cooldown lasts until {_text(until)}."
    return [Refusal(Guardrail.COOLDOWN, sentence)]


def _budgets(s: Situation, mine: Sequence[PastRun], limits: Limits) -> list[Refusal]:
    found = []
    day = [r for r in mine if r.counts and _ago(s.now, r.opened, r.opened_ago) < 86_400]
    if len(day) >= limits.per_target_per_day:
        sentence = (
            f"{s.target} was rolled back {len(day)} times within a day; the limit is {limits.per_target_per_day}."
        )
        found.append(Refusal(Guardrail.TARGET_BUDGET, sentence))
    hour = [r for r in s.runs if r.counts and _ago(s.now, r.opened, r.opened_ago) < 3_600]
    if len(hour) >= limits.per_cluster_per_hour:
        sentence = (
            f"{len(hour)} rollbacks were begun in this cluster within an hour; the limit is "
            f"{limits.per_cluster_per_hour}."
        )
        found.append(Refusal(Guardrail.CLUSTER_BUDGET, sentence))
    return found


def _ago(now: datetime, then: datetime, known: float | None) -> float:
    # A wall clock that was set back makes the past look like the future: that must not lift a limit.
    return abs((now - then).total_seconds()) if known is None else known


def _destination(s: Situation, policy: Policy) -> list[Refusal]:
    if s.ledger.destination(policy.ledger) is not None:
        return []
    known = ", ".join(_standing(r, policy) for r in s.ledger.records.values()) or "no revision is known"
    sentence = f"No revision of {s.target} but the present one is known to be good ({known}): choose one by hand."
    return [Refusal(Guardrail.NO_GOOD_REVISION, sentence)]


def _owner(s: Situation, policy: Policy) -> list[Refusal]:
    wanted = s.gitops or policy.gitops
    owner = None if s.workload is None else owner_of(s.workload.raw, policy.argocd_namespace)
    if owner is None or wanted is GitOps.PROCEED or (wanted is GitOps.SUSPEND and owner.known):
        return []
    return [Refusal(Guardrail.GITOPS_OWNER, _would_undo(s, owner, wanted))]


def _would_undo(s: Situation, owner: Owner, wanted: GitOps) -> str:
    remedy = f"revert {_commit(s.bad_commit)} in its source"
    if wanted is GitOps.SUSPEND:
        return f"{s.target} belongs to {owner}, so that it cannot be suspended: {remedy}, or set gitops: proceed."
    return (
        f"{s.target} belongs to {owner}, which would undo a rollback: {remedy}, or set gitops: suspend, so that the "
        "guard suspends it meanwhile."
    )


def _commit(found: str | None) -> str:
    if not found:
        return "the bad release"
    return f"the bad release ({found})"


def _standing(record: Record, policy: Policy) -> str:
    return f"revision {record.revision} {record.standing(policy.ledger)}"


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time as operators write it: `5m`, `1h30m`, `45s`."""
    whole = round(seconds)
    if whole != seconds and seconds < 60:
        return f"{seconds:g}s"
    parts = [(whole // 86_400, "d"), (whole % 86_400 // 3_600, "h"), (whole % 3_600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{n}{unit}" for n, unit in parts if n) or "0s"
