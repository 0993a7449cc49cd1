"""Why a rollback is refused, as messages. `target` is a target's key; lengths of time are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from logcaster_guard.domain.evidence import Ranking
from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class OnlyAlert(Message):
    """The rule asks for an alert only."""

    rule: str
    kind: Literal["refusal.only_alert"] = "refusal.only_alert"


@dataclass(frozen=True, slots=True)
class OnlyAlertOf(Message):
    """The rule asks for an alert only; `steps` are those of an immediate rollback, which a person could run."""

    rule: str
    steps: tuple[Reason, ...]
    kind: Literal["refusal.only_alert_of"] = "refusal.only_alert_of"


@dataclass(frozen=True, slots=True)
class DryRun(Message):
    """Nothing is written; `steps` are those of the plan, by its digest."""

    plan: str
    steps: tuple[Reason, ...]
    kind: Literal["refusal.dry_run"] = "refusal.dry_run"


@dataclass(frozen=True, slots=True)
class NoJournal(Message):
    """The guard only watches."""

    kind: Literal["refusal.no_journal"] = "refusal.no_journal"


@dataclass(frozen=True, slots=True)
class OwnWorkload(Message):
    """The guard itself runs in the workload's pods."""

    workload: str
    kind: Literal["refusal.own_workload"] = "refusal.own_workload"


@dataclass(frozen=True, slots=True)
class TargetMissing(Message):
    """There is no such workload."""

    target: str
    kind: Literal["refusal.target_missing"] = "refusal.target_missing"


@dataclass(frozen=True, slots=True)
class BeingDeleted(Message):
    """The workload is on its way out."""

    target: str
    kind: Literal["refusal.being_deleted"] = "refusal.being_deleted"


@dataclass(frozen=True, slots=True)
class Paused(Message):
    """The workload's rollout is paused."""

    target: str
    kind: Literal["refusal.paused"] = "refusal.paused"


@dataclass(frozen=True, slots=True)
class ScaledToZero(Message):
    """The workload is to have no pods."""

    workload: str
    kind: Literal["refusal.scaled_to_zero"] = "refusal.scaled_to_zero"


@dataclass(frozen=True, slots=True)
class NotLookedAt(Message):
    """The ledger does not know the workload as it is now: its template `changed`, or it was `made_anew`."""

    target: str
    changed: bool
    made_anew: bool
    kind: Literal["refusal.not_looked_at"] = "refusal.not_looked_at"


@dataclass(frozen=True, slots=True)
class KnownRevision(Message):
    """A revision, and what the guard knows of it."""

    revision: str
    release_status: str
    kind: Literal["refusal.known_revision"] = "refusal.known_revision"


@dataclass(frozen=True, slots=True)
class NoGoodRevision(Message):
    """There is no good release to go back to among those `known`.

    `unread` is one with the present template, of which nobody knows what its pods had read of ConfigMaps; empty: none.
    """

    target: str
    known: tuple[KnownRevision, ...]
    unread: str = ""
    kind: Literal["refusal.no_good_revision"] = "refusal.no_good_revision"


@dataclass(frozen=True, slots=True)
class OwnerWouldUndo(Message):
    """A GitOps owner would undo the rollback; `suspendable`: the guard could suspend it. `commit` may be empty."""

    target: str
    owner: Reason
    commit: Reason
    suspendable: bool
    kind: Literal["refusal.owner_would_undo"] = "refusal.owner_would_undo"


@dataclass(frozen=True, slots=True)
class ReleaseIsGood(Message):
    """The present release is the good one that a run of the guard's went back to."""

    target: str
    run: str
    kind: Literal["refusal.release_is_good"] = "refusal.release_is_good"


@dataclass(frozen=True, slots=True)
class GuardPutItThere(Message):
    """The present release is bad, and a run of the guard's put it there."""

    target: str
    run: str
    kind: Literal["refusal.guard_put_it_there"] = "refusal.guard_put_it_there"


@dataclass(frozen=True, slots=True)
class RolloutUnknown(Message):
    """Nobody can tell when the present release was rolled out."""

    target: str
    onset: datetime
    kind: Literal["refusal.rollout_unknown"] = "refusal.rollout_unknown"


@dataclass(frozen=True, slots=True)
class BreachBeforeRollout(Message):
    """The breach is older than the rollout."""

    onset: datetime
    rollout: datetime
    kind: Literal["refusal.breach_before_rollout"] = "refusal.breach_before_rollout"


@dataclass(frozen=True, slots=True)
class BreachLongAfter(Message):
    """The breach began more than the `window` after the rollout."""

    onset: datetime
    window: float
    rollout: datetime
    kind: Literal["refusal.breach_long_after"] = "refusal.breach_long_after"


@dataclass(frozen=True, slots=True)
class EditUnread(Message):
    """The present release differs from the one before in `objects`, which no pod has read as they are now."""

    target: str
    objects: tuple[str, ...]
    kind: Literal["refusal.edit_unread"] = "refusal.edit_unread"


@dataclass(frozen=True, slots=True)
class PodsIndistinct(Message):
    """Some pods have read an edit of `objects`, others have not, and which of them breach cannot be told."""

    target: str
    objects: tuple[str, ...]
    new: int
    old: int
    unclear: int
    kind: Literal["refusal.pods_indistinct"] = "refusal.pods_indistinct"


@dataclass(frozen=True, slots=True)
class PodsReplacedBefore(Message):
    """All pods were replaced without a new release shortly before the breach; `changed` are annotations.

    `opaque`: a checksum is among them, of what the guard cannot read and so cannot put back.
    """

    target: str
    onset: datetime
    replaced: datetime
    changed: tuple[str, ...]
    opaque: bool = False
    kind: Literal["refusal.pods_replaced"] = "refusal.pods_replaced"


@dataclass(frozen=True, slots=True)
class PodsReplacedLongAgo(Message):
    """They were, `lag` before the breach: it may come from that, or from the release itself."""

    target: str
    onset: datetime
    lag: float
    replaced: datetime
    changed: tuple[str, ...]
    rollout: datetime
    opaque: bool = False
    kind: Literal["refusal.pods_replaced_long_ago"] = "refusal.pods_replaced_long_ago"


@dataclass(frozen=True, slots=True)
class ReleaseBeforeToo(Message):
    """The release before was in breach too, for the share `breached` of the last `span` before the rollout."""

    target: str
    breached: float
    span: float
    kind: Literal["refusal.release_before_too"] = "refusal.release_before_too"


@dataclass(frozen=True, slots=True)
class NoQuietPast(Message):
    """Nobody has seen the target without this breach; `span` of values are known."""

    target: str
    span: float
    kind: Literal["refusal.no_quiet_past"] = "refusal.no_quiet_past"


@dataclass(frozen=True, slots=True)
class PodsAlike(Message):
    """Old and new pods fare alike on the signal."""

    target: str
    signal: str
    kind: Literal["refusal.pods_alike"] = "refusal.pods_alike"


@dataclass(frozen=True, slots=True)
class OthersBreach(Message):
    """Targets without a rollout breach at the same moment."""

    target: str
    ranking: Ranking
    kind: Literal["refusal.others_breach"] = "refusal.others_breach"


@dataclass(frozen=True, slots=True)
class SeveralSuspects(Message):
    """Several targets breach together, each after a rollout of its own."""

    target: str
    ranking: Ranking
    kind: Literal["refusal.several_suspects"] = "refusal.several_suspects"


@dataclass(frozen=True, slots=True)
class TooFewRequests(Message):
    """There are fewer than `least` requests a second; `seen` is empty where nobody knows how many."""

    target: str
    seen: str
    least: float
    kind: Literal["refusal.too_few_requests"] = "refusal.too_few_requests"


@dataclass(frozen=True, slots=True)
class SomebodyRollsOut(Message):
    """Somebody has been rolling out another release since after the breach began."""

    target: str
    since: datetime
    progress: Reason
    kind: Literal["refusal.somebody_rolls_out"] = "refusal.somebody_rolls_out"


@dataclass(frozen=True, slots=True)
class InMaintenance(Message):
    """A maintenance window is open."""

    target: str
    window: str
    until: datetime
    kind: Literal["refusal.in_maintenance"] = "refusal.in_maintenance"


@dataclass(frozen=True, slots=True)
class Frozen(Message):
    """The target is frozen by somebody; `who` is empty where nobody knows. A value with `lifted` lifts it."""

    since: datetime
    by: str
    who: Reason
    reason: Reason
    annotation: str
    lifted: str
    kind: Literal["refusal.frozen"] = "refusal.frozen"


@dataclass(frozen=True, slots=True)
class Vetoed(Message):
    """A person's veto holds for the present release; `words` may be empty."""

    target: str
    until: datetime
    words: str
    kind: Literal["refusal.vetoed"] = "refusal.vetoed"


@dataclass(frozen=True, slots=True)
class AnotherRunOpen(Message):
    """Another run of the target is open."""

    target: str
    run: str
    kind: Literal["refusal.another_run"] = "refusal.another_run"


@dataclass(frozen=True, slots=True)
class CoolingDown(Message):
    """The last rollback ended a moment ago."""

    target: str
    ended: datetime
    until: datetime
    kind: Literal["refusal.cooldown"] = "refusal.cooldown"


@dataclass(frozen=True, slots=True)
class TargetBudgetSpent(Message):
    """The target was rolled back as often as it may be within a day."""

    target: str
    count: int
    limit: int
    kind: Literal["refusal.target_budget"] = "refusal.target_budget"


@dataclass(frozen=True, slots=True)
class ClusterBudgetSpent(Message):
    """As many rollbacks were begun in the cluster as may be within an hour."""

    count: int
    limit: int
    kind: Literal["refusal.cluster_budget"] = "refusal.cluster_budget"
