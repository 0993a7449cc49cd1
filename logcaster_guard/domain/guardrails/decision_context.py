"""What a decision to roll back rests on, and what a guardrail says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from logcaster_guard.domain.attribution import Attribution
from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.ledger import Ledger
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.runs import ESCALATED, SUBSIDED
from logcaster_guard.domain.signals import Reading
from logcaster_guard.domain.workload import Workload


class Guardrail(StrEnum):
    """Names of the refusals, as logs and documents use them."""

    ALERT_ONLY = "alert_only"
    OWN_WORKLOAD = "own_workload"
    TARGET_MISSING = "target_missing"
    BEING_DELETED = "being_deleted"
    PAUSED = "paused"
    SCALED_TO_ZERO = "scaled_to_zero"
    NOT_YET_OBSERVED = "not_yet_observed"
    ROLLOUT_UNKNOWN = "rollout_unknown"
    PODS_REPLACED = "pods_replaced"
    NOT_CAUSED_BY_A_ROLLOUT = "not_caused_by_a_rollout"
    HISTORY_TOO_SHORT = "history_too_short"
    SHARED_CAUSE = "shared_cause"
    SEVERAL_SUSPECTS = "several_suspects"
    PODS_INDISTINCT = "pods_indistinct"
    MINIMUM_REQUEST_RATE = "minimum_request_rate"
    ROLLOUT_IN_PROGRESS = "rollout_in_progress"
    MAINTENANCE = "maintenance"
    FROZEN = "frozen"
    VETOED = "vetoed"
    ANOTHER_RUN = "another_run"
    COOLDOWN = "cooldown"
    TARGET_BUDGET = "target_budget"
    CLUSTER_BUDGET = "cluster_budget"
    NO_GOOD_REVISION = "no_good_revision"
    NO_JOURNAL = "no_journal"
    GITOPS_OWNER = "gitops_owner"
    SELECTOR_CHANGED = "selector_changed"
    CONFIGURATION = "configuration"
    STRATEGY_UNFIT = "strategy_unfit"
    DRY_RUN = "dry_run"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guardrail that holds, and why."""

    guardrail: Guardrail
    reason: Reason


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run as the limits count it: when it opened, and when it closed (None while it is open).

    `touched`: it changed something, so that it counts as a rollback. `opened_ago` and `closed_ago` are seconds on the
    guard's monotonic clock; None if that was before this process, so that only the instants can tell, and the
    `known_for` seconds for which this process has known the run.
    """

    run: str
    target: str
    opened: datetime
    closed: datetime | None
    touched: bool = True
    outcome: str = ""
    opened_ago: float | None = None
    closed_ago: float | None = None
    known_for: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it uses up a budget: it is open or has changed something, and no other run took it over."""
        return (self.closed is None or self.touched) and self.outcome != ESCALATED

    @property
    def cools_down(self) -> bool:
        """Whether the cooldown begins with its end: not where the breach went away before anything was changed."""
        return self.outcome not in {SUBSIDED, ESCALATED}


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """Everything that a decision to roll back rests on, at `now`.

    `onset` is when the breach began; `workload` is None if there is no Deployment; `runs` are those of every target.
    `follows` is the run that the new one would take the place of: after its end (a fallback, whose cause is known), or
    in the middle of it (`escalates`). `name` is the target's in the settings. `attribution` is what the breach was put
    down to, None where that was not looked into; `request_rate` the latest reading of that signal. `gitops` is what the
    target has in place of the policy's; `bad_commit` the revision that the workload's owner rolled out, or why it
    cannot be read (None: nobody has looked). `own`: the guard runs in the workload's pods, and is not meant to.
    `journal`: there is one; without it nothing is known of releases and runs.
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
    bad_commit: Reason | None = None
    own: bool = False
    journal: bool = True
