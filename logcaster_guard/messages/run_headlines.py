"""What people are told of rollbacks and of targets, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from logcaster_guard.domain.evidence import Evidence
from logcaster_guard.domain.measurements import Fact
from logcaster_guard.domain.message import Headline, Message, Reason
from logcaster_guard.domain.releases import LEFT_OUT


@dataclass(frozen=True, slots=True)
class Question(Message):
    """What people are asked, until when, what silence means, and how they answer: the guard's command, or kubectl's."""

    until: datetime
    needs_approval: bool
    veto_command: str
    veto: str
    approve_command: str
    approve: str
    kind: Literal["question"] = "question"


@dataclass(frozen=True, slots=True)
class RollbackBegins(Headline):
    """A run was opened, and nobody is asked first. `change` is what it writes where the images stay as they are.

    `facts` are those of the notice that have words in each language.
    """

    target: str
    rule: str
    reason: Reason
    bad: tuple[str, ...]
    good: tuple[str, ...]
    attribution: Evidence | None
    change: Reason = ""
    facts: tuple[Fact, ...] = field(default=(), metadata=LEFT_OUT)
    kind: Literal["run.opened"] = "run.opened"


@dataclass(frozen=True, slots=True)
class RollbackAsked(Headline):
    """A run was opened, and people are asked first."""

    target: str
    rule: str
    reason: Reason
    bad: tuple[str, ...]
    good: tuple[str, ...]
    question: Question
    attribution: Evidence | None
    facts: tuple[Fact, ...] = field(default=(), metadata=LEFT_OUT)
    kind: Literal["run.asked"] = "run.asked"


@dataclass(frozen=True, slots=True)
class PeopleStillAsked(Headline):
    """Nobody has answered yet, and the breach goes on."""

    target: str
    question: Question | None
    kind: Literal["people.reminded"] = "people.reminded"


@dataclass(frozen=True, slots=True)
class ReleaseRestored(Headline):
    """What was rolled back to is in place whole; whether it helps is being watched. `same`: the images stayed."""

    target: str
    good: tuple[str, ...]
    detail: Reason
    same: bool = False
    kind: Literal["run.restored"] = "run.restored"


@dataclass(frozen=True, slots=True)
class LeftInPlace(Message):
    """What the next deployment leaves in place, and what mends it; `helm` is empty without Helm."""

    fields: tuple[str, ...]
    helm: str
    rollback: str
    history: str
    kind: Literal["left_in_place"] = "left_in_place"


@dataclass(frozen=True, slots=True)
class RollbackEnded(Headline):
    """A run is closed. `vetoed_until`: for how long a veto holds; `resume_command` and `resume` lift a freeze.

    `unrestored` is what of the configuration stays as it is, and why.
    """

    target: str
    outcome: str
    reason: Reason
    vetoed_until: datetime | None
    frozen: bool
    resume_command: str
    resume: str
    leftover: LeftInPlace | None
    unrestored: tuple[Reason, ...] = field(default=(), metadata=LEFT_OUT)
    kind: Literal["run.closed"] = "run.closed"


@dataclass(frozen=True, slots=True)
class RunCrashed(Headline):
    """A defect stopped a run, which stays open."""

    run: str
    error: Reason
    kind: Literal["run.crashed"] = "run.crashed"


@dataclass(frozen=True, slots=True)
class RunHindered(Headline):
    """A run stands still in the middle, for a reason that lies outside of it."""

    target: str
    step: str
    reason: Reason
    kind: Literal["run.hindered"] = "run.hindered"


@dataclass(frozen=True, slots=True)
class NotGivenBack(Headline):
    """What a run borrowed stays as the guard wrote it. `remedy` is what a person does about it, by `command`."""

    target: str
    object: str
    reason: Reason
    remedy: Reason
    command: str
    kind: Literal["hold.not_given_back"] = "hold.not_given_back"


@dataclass(frozen=True, slots=True)
class LeftAsTheirs(Headline):
    """What a run borrowed is not given back, because somebody else has set it meanwhile."""

    target: str
    object: str
    reason: Reason
    original: str
    command: str
    kind: Literal["hold.theirs"] = "hold.theirs"


@dataclass(frozen=True, slots=True)
class HeldUp(Headline):
    """What a run borrowed is still out long after its end."""

    target: str
    object: str
    reason: Reason
    kind: Literal["hold.held_up"] = "hold.held_up"


@dataclass(frozen=True, slots=True)
class HoldIsDeferred(Headline):
    """The run is at its end, and something that it borrowed stays out until it can be given back."""

    target: str
    object: str
    reason: Reason
    remedy: Reason
    command: str
    kind: Literal["hold.deferred"] = "hold.deferred"


@dataclass(frozen=True, slots=True)
class HoldIsSettled(Headline):
    """What stayed out beyond its run is back; `theirs`: it is the guard's no more."""

    target: str
    object: str
    reason: Reason
    theirs: bool
    remedy: Reason
    command: str
    kind: Literal["hold.settled"] = "hold.settled"


@dataclass(frozen=True, slots=True)
class OwnerStaysSuspended(Headline):
    """The run is at its end, and the target's GitOps owner stays suspended."""

    target: str
    owner: str
    bad: tuple[str, ...]
    revision: str
    command: str
    kind: Literal["owner.suspended"] = "owner.suspended"


@dataclass(frozen=True, slots=True)
class OwnerAtWork(Headline):
    """A GitOps owner that a run suspended is at work again, by the guard or by somebody else."""

    target: str
    owner: str
    by_guard: bool
    reason: Reason
    kind: Literal["owner.resumed"] = "owner.resumed"


@dataclass(frozen=True, slots=True)
class OwnerNotResumed(Headline):
    """The guard is refused what it needs to resume a GitOps owner."""

    target: str
    owner: str
    reason: Reason
    command: str
    kind: Literal["owner.not_resumed"] = "owner.not_resumed"


@dataclass(frozen=True, slots=True)
class TriggerRefused(Headline):
    """A rule fired, and nothing is rolled back."""

    target: str
    rule: str
    reasons: tuple[Reason, ...]
    attribution: Evidence | None
    facts: tuple[Fact, ...] = field(default=(), metadata=LEFT_OUT)
    kind: Literal["trigger.refused"] = "trigger.refused"


@dataclass(frozen=True, slots=True)
class DecisionPostponed(Headline):
    """A rule fired a while ago, and whether anything may be rolled back cannot be found out."""

    target: str
    rule: str
    reason: Reason
    kind: Literal["decision.postponed"] = "decision.postponed"


@dataclass(frozen=True, slots=True)
class RequestRefused(Headline):
    """Somebody asked for a rollback by annotation, and it is not carried out."""

    target: str
    reasons: tuple[Reason, ...]
    kind: Literal["request.refused"] = "request.refused"


@dataclass(frozen=True, slots=True)
class AnswerDiscounted(Headline):
    """Somebody answered by annotation, and it does not count."""

    target: str
    annotation: str
    workload: str
    reason: Reason
    kind: Literal["answer.denied"] = "answer.denied"


@dataclass(frozen=True, slots=True)
class ReleaseMarked(Headline):
    """Somebody marked a release bad, or lifted that; `release_status` is what it is since then, `words` are theirs."""

    target: str
    revision: str
    images: tuple[str, ...]
    bad: bool
    release_status: str
    words: str
    kind: Literal["revision.marked"] = "revision.marked"


@dataclass(frozen=True, slots=True)
class FrozenByHand(Headline):
    """Somebody froze the target by an annotation; `who` is empty where the object does not tell."""

    target: str
    who: Reason
    words: str
    command: str
    kind: Literal["target.frozen"] = "target.frozen"


@dataclass(frozen=True, slots=True)
class FreezeLifted(Headline):
    """Somebody lifted the freeze."""

    target: str
    words: Reason
    kind: Literal["target.thawed"] = "target.thawed"


@dataclass(frozen=True, slots=True)
class EditPending(Headline):
    """`object`, which the pods of the target refer to, came to hold something else, and no pod has read that yet."""

    target: str
    object: str
    keys: tuple[str, ...]
    since: datetime
    kind: Literal["configuration.pending"] = "configuration.pending"


@dataclass(frozen=True, slots=True)
class MarksUnproven(Headline):
    """Something carries the guard's marks, and the journal does not bear them out; `orphan`: it looks like a helper.

    `copied`: it looks like a copy of configuration, to which `reader` refers; empty where nothing does.
    """

    object: str
    reason: Reason
    orphan: bool
    command: str
    copied: bool = field(default=False, metadata=LEFT_OUT)
    reader: str = field(default="", metadata=LEFT_OUT)
    kind: Literal["marks.unproven"] = "marks.unproven"
