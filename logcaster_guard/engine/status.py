"""What the guard knows now, as frozen values: all that the API, the metrics and the command line show of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from logcaster_guard.domain.attribution import Attribution
from logcaster_guard.domain.conditions import Judgement, Verdict
from logcaster_guard.domain.events import HoldDeferred, OwnerSuspended, TriggerCleared, TriggerFired, TriggerPending
from logcaster_guard.domain.guardrails import Refusal
from logcaster_guard.domain.inbox.commands import Heard
from logcaster_guard.domain.leadership import Role
from logcaster_guard.domain.ledger import Freeze, Record, ReleaseStatus
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.problems import Problem
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Fault, SourceName, Target, Unit
from logcaster_guard.domain.triggers import Phase
from logcaster_guard.engine.read_configuration import ConfigurationStatus
from logcaster_guard.ports import JournalSize


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStatus:
    """A rule on a target now.

    `blind_since`: since when the rule has seen nothing; None if it sees, or has not for less than its duration. `onset`
    is None while there is no breach. `credit` is how many seconds of the rule's duration are proven met. `evidence` are
    the readings as people are told them, by signal. Counted since the start of the guard are `evaluations` by verdict,
    `firings`, and `refusals` by guardrail.
    """

    rule: Rule
    phase: Phase
    blind_since: datetime | None
    onset: datetime | None
    credit: float
    judgement: Judgement
    evidence: Mapping[str, Reason]
    evaluations: Mapping[Verdict, int]
    firings: int
    refusals: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """The reads of a source for a target since the start of the guard.

    `up`: the last read gave an answer for at least one signal; `last_answer_at`: when that was last so. `errors` counts
    by fault the reads in which at least one signal got no usable answer.
    """

    source: SourceName
    up: bool
    reads: int
    errors: Mapping[Fault, int]
    last_answer_at: datetime | None
    missed_polls: int


@dataclass(frozen=True, slots=True)
class ReleaseSummary:
    """A release of a target, as the ledger has it. `present`: the workload carries it now."""

    target: str
    record: Record
    status: ReleaseStatus
    present: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """A target now.

    `workload` is the name of what the Service leads to, as it was looked at last (`looked_at`; None: not yet).
    `destination` is the release that a rollback would go back to. `deferred` is what closed runs still have borrowed.
    `unproven` are sentences about objects whose marks the journal does not bear out. `run` is the open one;
    `runs_opened` and `runs_closed` (by outcome) count those that the journal tells. `heard` is what became of people's
    annotations, the newest last. `stuck_loops` are those over their bound, `crashes` counts the loops that a defect
    ended. `configuration` is None before the first look at it, and where none is followed.
    """

    target: Target
    workload: str
    looked_at: datetime | None
    present: ReleaseSummary | None
    destination: ReleaseSummary | None
    freeze: Freeze | None
    suspended: Sequence[OwnerSuspended]
    deferred: Sequence[HoldDeferred]
    unproven: Sequence[Message]
    configuration: ConfigurationStatus | None
    run: Run | None
    runs_opened: int
    runs_closed: Mapping[str, int]
    heard: Sequence[Heard]
    rules: Sequence[RuleStatus]
    sources: Sequence[SourceStatus]
    stuck_loops: Sequence[str]
    crashes: int

    def rule(self, name: str) -> RuleStatus:
        """The rule of this name; raises `KeyError`."""
        return {status.rule.name: status for status in self.rules}[name]


@dataclass(frozen=True, slots=True)
class LeadershipStatus:
    """Who may act. `holder` is None if nobody does, or nobody is known to."""

    lease: str
    identity: str
    role: Role
    holder: str | None
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStatus:
    """What becomes durable. `usable`: the guard can act by its journal. Counted since the start of the guard."""

    usable: bool
    appends: int
    failures: int
    size: JournalSize | None
    blob_failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStatus:
    """The guard and every target now.

    `stuck` and `missing` are sentences, see `ReadModel`. `leadership` is None for a guard that acts alone. `reloads`
    counts what became of changed files, `notices_pending` the notices that each channel owes, `notices_settled` those
    that need nothing more, by channel and outcome.
    """

    at: datetime
    polling_interval: float
    stuck: Sequence[Message]
    missing: Sequence[Message]
    problems: Sequence[Problem]
    leadership: LeadershipStatus | None
    standing_by: Message | None
    targets: Sequence[TargetStatus]
    storage: StorageStatus
    reloads: Mapping[str, int]
    notices_pending: Mapping[str, int]
    notices_settled: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a rule did or did not fire on a target.

    `refusals` are the guardrails that would hold if it fired now, on the workload as it was looked at last; None if it
    was not looked at yet. `attribution` is what the present breach was put down to at the last decision. `units` are
    those of the signals that the target's rules read.
    """

    target: str
    status: RuleStatus
    refusals: Sequence[Refusal] | None
    attribution: Attribution | None
    units: Mapping[str, Unit]
    last_change: TriggerPending | TriggerFired | TriggerCleared | None
    run: Run | None
