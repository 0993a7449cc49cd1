"""Everything the journal can hold, one frozen type per fact.

Streams: `run/<root run id>` tells a run and the runs that follow from it (fallback, escalation), its notices included;
`target/<namespace>/<deployment>` tells what was seen of a target; `guard` tells about the guard itself.
Every event carries `at`, a UTC-aware instant, for people and for spans that outlive a process.
What a run borrowed, a `Compensation`, is called `hold` here: the journal keeps that word, so that this release and the
last read each other's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from logcaster_guard.domain.inbox.commands import Mark, RunCommand
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.notices import Notice
from logcaster_guard.domain.releases import LEFT_OUT, ReleaseId
from logcaster_guard.domain.steps import Compensation, Plan


@dataclass(frozen=True, slots=True)
class OfRelease:
    """An event about a release. `configuration` is the digest of the release's configuration, empty where unknown."""

    at: datetime
    template: str
    configuration: str = field(default="", metadata=LEFT_OUT, kw_only=True)

    @property
    def release(self) -> ReleaseId:
        """Which release it is about."""
        return ReleaseId(self.template, self.configuration)


@dataclass(frozen=True, slots=True)
class RevisionLive(OfRelease):
    """A release became the live one: its template is the Deployment's, or its configuration is what pods have read.

    That was between `earliest` and `at`. `revision` is its number, empty before its controller has given it one.
    `blob` is the digest of the saved release (template, change-cause, last-applied). `undo_of` is the key of the
    release that was left when the template is an older one; `by_guard` names the run. `contents` and `readable`
    tell of its configuration, as a `Record` has them.
    """

    revision: str
    uid: str
    blob: str
    images: tuple[str, ...]
    earliest: datetime | None = None
    known_since: datetime | None = None
    undo_of: str | None = None
    by_guard: str | None = None
    contents: dict[str, str] = field(default_factory=dict, metadata=LEFT_OUT)
    readable: str = field(default="", metadata=LEFT_OUT)


@dataclass(frozen=True, slots=True)
class RevisionConfigured(OfRelease):
    """The configuration of the present release became known: its pods have read nothing else since its rollout.

    Its rollout goes on. `blob` is the digest of the release as it is saved now, `contents` and `readable` are as a
    `Record` has them.
    """

    blob: str
    contents: dict[str, str] = field(default_factory=dict)
    readable: str = field(default="", metadata=LEFT_OUT)


@dataclass(frozen=True, slots=True)
class RevisionNumbered(OfRelease):
    """The present release has another revision number than was told of it, or has got one."""

    revision: str


@dataclass(frozen=True, slots=True)
class PodsReplaced(OfRelease):
    """All pods of the present release were replaced without a new one, between `earliest` and `at`.

    `changed` names the annotations of the pod template that were changed (`kubectl rollout restart` writes one, Helm
    charts a checksum of the configuration); `blob` is the digest of the release as it is now.
    """

    changed: tuple[str, ...]
    blob: str
    earliest: datetime | None = None


@dataclass(frozen=True, slots=True)
class RevisionSeeded(OfRelease):
    """A revision from before the guard's time, as the ReplicaSets tell it.

    `stood` is for how many seconds they prove that it was live, `superseded_by_undo` that a rollback left it.
    `order` is the revision number.
    """

    revision: str
    order: int
    uid: str
    blob: str
    images: tuple[str, ...]
    stood: float
    superseded_by_undo: bool


@dataclass(frozen=True, slots=True)
class RevisionKept(OfRelease):
    """A release that could not be saved when it became live is saved now, as `blob`."""

    blob: str


@dataclass(frozen=True, slots=True)
class RevisionGood(OfRelease):
    """The template earned good: at least `quiet_share` of `watched` seconds each rule that measured it was quiet.

    `snapshot` is the digest of the blob with the manifests as they were then, empty if they could not be read.
    `unmeasured` are the rules that never saw this release: they prove nothing of it.
    """

    quiet_share: float
    watched: float
    snapshot: str = ""
    unmeasured: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RevisionBad(OfRelease):
    """The template is bad, for `reason`; `run` is the run that found it so, if one did."""

    reason: Reason
    run: str = ""


@dataclass(frozen=True, slots=True)
class RevisionMarked(OfRelease):
    """A person called the release bad, or lifted that it is; `words` are theirs.

    `digest` is that of the annotation, which counts once.
    """

    mark: Mark
    digest: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class ConfigurationSeen:
    """What the target's pods refer to holds something else, or other pods have read it.

    `blob` is the digest of what is known of it (`configuration.remembered`), `manifests` are those of the blobs that
    this names.
    """

    at: datetime
    blob: str
    manifests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignalSeen:
    """The signal gave a value of this target for the first time: from now on its rules count for good."""

    at: datetime
    signal: str


@dataclass(frozen=True, slots=True)
class TriggerPending:
    """The rule's condition became met; `onset` is the refined instant."""

    at: datetime
    rule: str
    onset: datetime


@dataclass(frozen=True, slots=True)
class TriggerFired:
    """The condition was met for the rule's whole duration. `evidence` are the readings as text."""

    at: datetime
    rule: str
    onset: datetime
    evidence: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TriggerCleared:
    """The rule is inactive again."""

    at: datetime
    rule: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class TargetFrozen:
    """Nothing may be rolled back here until the freeze is lifted. `by` is `annotation`, `guard` or a person.

    `spec` is the digest of the Deployment's spec when an annotation said so, `who` its field manager, where it is told.
    """

    at: datetime
    by: str
    reason: str
    spec: str = ""
    who: Reason = ""


@dataclass(frozen=True, slots=True)
class TargetThawed:
    """The freeze is lifted."""

    at: datetime
    by: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A run exists: its plan never changes. `parent` is the run that it follows, whose `holds` it takes over.

    `snapshot` is the digest of the blob with the manifests of all that it may touch. `request` is the digest of the
    annotation by which a person asked for it. `attributed`: a rule fired, and its breach was put down to the release.
    """

    at: datetime
    run: str
    target: str
    rule: str
    reason: Reason
    plan: Plan
    onset: datetime | None = None
    parent: str | None = None
    evidence: dict[str, Reason] = field(default_factory=dict)
    condition: str = ""
    holds: tuple[Compensation, ...] = ()
    snapshot: str = ""
    request: str = ""
    attributed: bool = False

    @property
    def approval_token(self) -> str:
        """What an approval or a veto of this run has to name: 16 hex digits of the SHA-256 of run and plan."""
        return hashlib.sha256(f"{self.run}/{self.plan.digest}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class StepStarted:
    """Step `step` (index into the plan) is the present one."""

    at: datetime
    run: str
    step: int


@dataclass(frozen=True, slots=True)
class StepIntended:
    """The effect of step `step` is about to be tried for the `attempt`-th time. `hold` is what it will borrow."""

    at: datetime
    run: str
    step: int
    attempt: int
    hold: Compensation | None = None


@dataclass(frozen=True, slots=True)
class StepDone:
    """Step `step` was seen to be done."""

    at: datetime
    run: str
    step: int
    detail: Reason = ""


@dataclass(frozen=True, slots=True)
class PeopleReminded:
    """People were reminded, for the `number`-th time, of the question that the run waits for."""

    at: datetime
    run: str
    number: int


@dataclass(frozen=True, slots=True)
class RunAnswered:
    """A person's answer counts for the run. `digest` is that of the annotation, which counts once; `words` theirs.

    `until`: how long a veto holds for the release that the run would have left.
    """

    at: datetime
    run: str
    answer: RunCommand
    digest: str
    words: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AnswerDenied:
    """What a person wrote on the workload does not count, for `reason`, now or ever. `run` is the one that was open."""

    at: datetime
    annotation: str
    digest: str
    reason: Reason
    run: str | None = None


@dataclass(frozen=True, slots=True)
class RunEnding:
    """No further step will be taken: what is borrowed is given back, then the run closes with `outcome`."""

    at: datetime
    run: str
    outcome: str
    reason: Reason
    freeze: bool


@dataclass(frozen=True, slots=True)
class HoldReleased:
    """What was borrowed is back, or no longer the guard's to give back (`detail` says which).

    `kept_out`: it is still out, because giving it back was refused; a person has to. `theirs`: a size or a bound stays
    as somebody else has set it.
    """

    at: datetime
    run: str
    hold: str
    detail: Reason = ""
    kept_out: bool = False
    theirs: bool = False


@dataclass(frozen=True, slots=True)
class OwnerSuspended:
    """The target's GitOps owner stays suspended after the run that suspended it, until it wants another revision.

    The compensation goes over from the run to the target; it is told in the run's own stream, with its release there.
    """

    at: datetime
    run: str
    hold: Compensation


@dataclass(frozen=True, slots=True)
class HoldDeferred:
    """What the run has borrowed stays out beyond its end, for `reason`, and goes back as soon as it can.

    Told in the run's own stream, with its release there.
    """

    at: datetime
    run: str
    hold: Compensation
    reason: Reason


@dataclass(frozen=True, slots=True)
class HoldSettled:
    """What a run had borrowed beyond its end (`hold` is its id) is back; `theirs`: it is the guard's no more."""

    at: datetime
    run: str
    hold: str
    reason: Reason
    theirs: bool = False


@dataclass(frozen=True, slots=True)
class OwnerResuming:
    """The guard is about to resume the owner, for `reason`; tried again until it is seen to be done."""

    at: datetime
    owner: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class OwnerResumed:
    """The owner is resumed, or no longer the guard's to resume: `by` is `guard` or `somebody else`."""

    at: datetime
    owner: str
    by: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class RunClosed:
    """The run is over. `freeze` says that the target stays frozen until a person lifts it."""

    at: datetime
    run: str
    outcome: str
    reason: Reason
    freeze: bool


@dataclass(frozen=True, slots=True)
class NoticeQueued:
    """People are to be told, on every channel."""

    at: datetime
    notice: Notice


@dataclass(frozen=True, slots=True)
class NoticeSettled:
    """`channel` took the notice, or never will (`outcome` is `delivered` or the refusal)."""

    at: datetime
    notice: str
    channel: str
    outcome: str


Event = (
    RevisionLive
    | RevisionConfigured
    | RevisionNumbered
    | PodsReplaced
    | RevisionSeeded
    | RevisionKept
    | RevisionGood
    | RevisionBad
    | RevisionMarked
    | ConfigurationSeen
    | SignalSeen
    | TriggerPending
    | TriggerFired
    | TriggerCleared
    | TargetFrozen
    | TargetThawed
    | RunOpened
    | StepStarted
    | StepIntended
    | StepDone
    | PeopleReminded
    | RunAnswered
    | AnswerDenied
    | RunEnding
    | HoldReleased
    | HoldDeferred
    | HoldSettled
    | OwnerSuspended
    | OwnerResuming
    | OwnerResumed
    | RunClosed
    | NoticeQueued
    | NoticeSettled
)
