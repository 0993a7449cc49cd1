"""Rules as the operators wrote them, and the policy around them, in seconds and plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from logcaster_guard.domain.conditions import Condition, NoDataPolicy, signals_of
from logcaster_guard.domain.gitops import ARGOCD_NAMESPACE, GitOps
from logcaster_guard.domain.maintenance import MaintenanceWindow
from logcaster_guard.domain.signals import Target


class Action(StrEnum):
    """What a fired rule asks for."""

    IMMEDIATE = "immediate_rollback"
    GRADUAL = "gradual_rollback"
    BLUE_GREEN = "blue_green_rollback"
    ENV = "env_rollback"
    CONFIG = "config_rollback"
    ALERT_THEN = "alert_then_rollback"
    ALERT_ONLY = "alert_only"


URGENT = frozenset({Action.IMMEDIATE, Action.BLUE_GREEN})
"""A trigger with one of these may take over a run of any other action."""


def quicker(action: Action, strategy: str) -> bool:
    """Whether `action` is more urgent than a run of this strategy (a plan's word: `gradual` for `gradual_rollback`)."""
    return action in URGENT and Action(f"{strategy}_rollback") not in URGENT


@dataclass(frozen=True, slots=True)
class Rule:
    """One trigger rule.

    `duration` and `rollout_window` are seconds (`rollout_window=None`: the cause is not asked for). `targets` names the
    targets it applies to, `None` for all. `text` is the condition as written, `where` its `file:line`. `grace`
    (seconds) and `require_approval` are for `alert_then_rollback`, None for the policy's; `dry_run` writes nothing.
    `min_request_rate` (per second): with less traffic nothing is rolled back, None for the policy's. `variables` is for
    `env_rollback`: the names of those that are restored, empty for all.
    """

    name: str
    text: str
    condition: Condition
    duration: float
    action: Action
    targets: frozenset[str] | None = None
    rollout_window: float | None = 86_400.0
    no_data: NoDataPolicy = NoDataPolicy.HOLD
    where: str = ""
    grace: float | None = None
    require_approval: bool | None = None
    dry_run: bool = False
    min_request_rate: float | None = None
    variables: tuple[str, ...] = ()

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that the condition reads."""
        return signals_of(self.condition)

    def applies_to(self, target: Target) -> bool:
        """Whether this rule watches `target`."""
        return self.targets is None or target.name in self.targets


@dataclass(frozen=True, slots=True)
class RulesDiff:
    """Names of the rules that are new, gone, or not what they were."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def difference(old: Sequence[Rule], new: Sequence[Rule]) -> RulesDiff:
    """How `new` differs from `old`; where a rule stands in its file makes no difference."""
    before, after = ({r.name: replace(r, where="") for r in rules} for rules in (old, new))
    return RulesDiff(
        added=tuple(n for n in after if n not in before),
        removed=tuple(n for n in before if n not in after),
        changed=tuple(n for n in after if n in before and after[n] != before[n]),
    )


@dataclass(frozen=True, slots=True)
class Polling:
    """How often signals are read, and how old a reading may grow (seconds)."""

    interval: float = 30.0
    staleness: float = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How often the guard may act: `cooldown` in seconds, budgets in rollbacks.

    `min_request_rate` is in requests per second, None for no such limit.
    """

    cooldown: float = 1_800.0
    per_target_per_day: int = 2
    per_cluster_per_hour: int = 3
    min_request_rate: float | None = None


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """When a revision counts as good (seconds; `good_share` of 1) and how many good templates are kept."""

    good_after: float = 600.0
    good_share: float = 0.9
    presumed_after: float = 86_400.0
    keep: int = 5


@dataclass(frozen=True, slots=True)
class VerifyPolicy:
    """How a rollback is judged (seconds)."""

    stable_for: float = 300.0
    timeout: float = 1_200.0


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How long a rollout of the guard's may take (seconds)."""

    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class GradualPolicy:
    """How a gradual rollback goes: `steps` are the helper's shares (of 1), rising, the last one 1.

    At each step the helper's error rate over `window` seconds, looked at `wait` seconds after its pods were Ready, must
    not be above `threshold`; with fewer than `min_requests` in the window it is held for at most `hold` seconds.
    `otherwise` is what happens where a gradual rollback is not possible.
    """

    steps: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    wait: float = 60.0
    window: float = 60.0
    threshold: float = 0.01
    min_requests: int = 100
    hold: float = 300.0
    otherwise: Action = Action.IMMEDIATE


@dataclass(frozen=True, slots=True)
class BlueGreenPolicy:
    """How a switch to the other environment is judged.

    `wait` seconds after it, the error rate over the last `window` seconds must not be above both `threshold` (of 1)
    and what it was before, else the Service is switched back; fewer than `min_requests` in the window prove nothing.
    `otherwise` is what happens where the other environment cannot take over.
    """

    wait: float = 60.0
    window: float = 60.0
    threshold: float = 0.01
    min_requests: int = 100
    otherwise: Action = Action.ALERT_ONLY


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """How long people have a say before an `alert_then_rollback`, and how long their veto holds (seconds)."""

    grace: float = 300.0
    require_approval: bool = False
    approval_timeout: float = 3_600.0
    remind_every: float = 120.0
    veto_for: float = 86_400.0


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """How many further good releases may be tried.

    `destination_bad`: after one that proved bad before it took over; `not_recovered`: after one that did not help.
    """

    destination_bad: int = 1
    not_recovered: int = 0


@dataclass(frozen=True, slots=True)
class AttributionPolicy:
    """When a rollout counts as the cause of a breach (seconds; `margin` of 1).

    `margin`: the share of what it takes to breach, or of what others show, by which a release must stand out.
    `together`: breaches that began at most so far apart may have one cause. `recent`: a rollout so long before a
    breach may be that breach's cause. `before`: how far back before a rollout it is compared with. `least_history`:
    for how much of that the rule must have been quiet on values, None for no such need. `min_requests`: with fewer,
    an error rate or latency of some pods proves nothing.
    """

    margin: float = 0.5
    together: float = 600.0
    recent: float = 3_600.0
    before: float = 600.0
    least_history: float | None = 60.0
    min_requests: int = 100


LEAST_RETENTION = 2 * 86_400.0
"""Seconds that people may set it to at least: notices are owed for a day, and limits count one."""


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """How many snapshots of a target are kept, and for how many seconds, beside those that a rollback may need."""

    keep: int = 10
    max_age: float = 2_592_000.0


class EditAttribution(StrEnum):
    """What is done about a breach after an edit where pods that have read it cannot be told from others."""

    ALERT = "alert"
    ROLLBACK = "rollback"


class Shared(StrEnum):
    """What is done with an object that other workloads read as well."""

    REFUSE = "refuse"
    RESTORE = "restore"


class Incomplete(StrEnum):
    """What is done where an object is known to differ, and cannot be put back."""

    REFUSE = "refuse"
    PROCEED = "proceed"


class SecretsMode(StrEnum):
    """What becomes of the Secrets that pods refer to: they are named, or they are followed, kept and put back."""

    NAMES = "names"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class SecretsPolicy:
    """Whether Secrets belong to a release; `namespace` is where they are kept (None: the target's own).

    `name` tells what this guard keeps from what another one does there.
    """

    mode: SecretsMode = SecretsMode.NAMES
    namespace: str | None = None
    name: str = "logcaster-guard"


@dataclass(frozen=True, slots=True)
class ConfigPolicy:
    """Which configuration belongs to a release.

    `objects` are names of ConfigMaps that the pods of a target, by its name, read by themselves. A volume follows an
    edit within `propagation` seconds. What changes more than `volatile` times a day is no configuration. `attribution`
    is what an edit is blamed for where the pods do not tell. What a rollback does with objects that others read, or
    that cannot be put back, `shared` and `incomplete` say.
    """

    objects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    propagation: float = 120.0
    volatile: int = 3
    attribution: EditAttribution = EditAttribution.ALERT
    secrets: SecretsPolicy = SecretsPolicy()
    shared: Shared = Shared.REFUSE
    incomplete: Incomplete = Incomplete.REFUSE


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that is not a rule and shapes a decision.

    `retention` is for how many seconds the journal keeps the details of closed runs. `gitops` is for targets that name
    none; Applications are in `argocd_namespace` unless they tell another.
    """

    polling: Polling = Polling()
    limits: Limits = Limits()
    ledger: LedgerPolicy = LedgerPolicy()
    snapshots: SnapshotPolicy = SnapshotPolicy()
    config: ConfigPolicy = field(default_factory=ConfigPolicy)
    verify: VerifyPolicy = VerifyPolicy()
    rollout: RolloutPolicy = RolloutPolicy()
    gradual: GradualPolicy = GradualPolicy()
    blue_green: BlueGreenPolicy = BlueGreenPolicy()
    alert: AlertPolicy = AlertPolicy()
    fallback: FallbackPolicy = FallbackPolicy()
    attribution: AttributionPolicy = AttributionPolicy()
    maintenance: tuple[MaintenanceWindow, ...] = ()
    dry_run: bool = False
    retention: float = 2_592_000.0
    gitops: GitOps = GitOps.REFUSE
    argocd_namespace: str = ARGOCD_NAMESPACE

    def min_request_rate(self, rule: Rule) -> float | None:
        """The traffic (per second) without which `rule` rolls nothing back; None for any."""
        return self.limits.min_request_rate if rule.min_request_rate is None else rule.min_request_rate
