"""Why runs begin, wait and end, as messages. What a step alone can see it says itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class RuleMet(Message):
    """A rule was met for its whole duration, in seconds."""

    rule: str
    condition: str
    duration: float
    kind: Literal["rule_met"] = "rule_met"


@dataclass(frozen=True, slots=True)
class TakesOver(Message):
    """A run takes over from a slower one."""

    because: Reason
    run: str
    kind: Literal["takes_over"] = "takes_over"


@dataclass(frozen=True, slots=True)
class FallsBack(Message):
    """A run follows one whose good release failed, and goes to the next."""

    run: str
    outcome: str
    reason: Reason
    kind: Literal["falls_back"] = "falls_back"


@dataclass(frozen=True, slots=True)
class PutsBack(Message):
    """A run puts the release back that an earlier run left for one that does not start."""

    run: str
    outcome: str
    reason: Reason
    kind: Literal["puts_back"] = "puts_back"


@dataclass(frozen=True, slots=True)
class AskedByHand(Message):
    """A person asked for the run; `words` are theirs, or empty."""

    approval_token: str
    words: str
    kind: Literal["asked_by_hand"] = "asked_by_hand"


@dataclass(frozen=True, slots=True)
class OwnerMayUndo(Message):
    """A run goes on in spite of a GitOps owner."""

    because: Reason
    owner: Reason
    kind: Literal["owner_may_undo"] = "owner_may_undo"


@dataclass(frozen=True, slots=True)
class Said(Message):
    """A person answered the question of a run, or called it off. `words` are theirs, or empty."""

    answer: str
    words: str
    kind: Literal["person_said"] = "person_said"


@dataclass(frozen=True, slots=True)
class IsPutBack(Message):
    """The release before is in place again; `because` is why the run was opened."""

    because: Reason
    kind: Literal["is_put_back"] = "is_put_back"


@dataclass(frozen=True, slots=True)
class Quiet(Message):
    """The rules are quiet after the rollback."""

    kind: Literal["quiet"] = "quiet"


@dataclass(frozen=True, slots=True)
class DestinationMarkedBad(Message):
    """A person marked the run's destination bad meanwhile."""

    words: Reason
    kind: Literal["destination_marked_bad"] = "destination_marked_bad"


@dataclass(frozen=True, slots=True)
class UnseenInTime(Message):
    """Whether the good release has taken over could not be seen in time; `detail` is what was seen last."""

    detail: Reason
    kind: Literal["unseen_in_time"] = "unseen_in_time"


@dataclass(frozen=True, slots=True)
class NotMadeInTime(Message):
    """A change could not be made in time; `detail` is what was seen last."""

    detail: Reason
    kind: Literal["not_made_in_time"] = "not_made_in_time"


@dataclass(frozen=True, slots=True)
class NothingObserved(Message):
    """Nothing was observed yet."""

    kind: Literal["nothing_observed"] = "nothing_observed"


@dataclass(frozen=True, slots=True)
class StaysSuspended(Message):
    """A GitOps owner stays suspended until another revision is wanted."""

    kind: Literal["stays_suspended"] = "stays_suspended"


@dataclass(frozen=True, slots=True)
class StaysWhileRead(Message):
    """The copy `object` stays until nothing refers to it, as `reader` does."""

    object: str
    reader: str
    kind: Literal["stays_while_read"] = "stays_while_read"


@dataclass(frozen=True, slots=True)
class StaysUntilEmpty(Message):
    """`object` is put back once the environment `left` has no pods, which would read it."""

    object: str
    left: str
    kind: Literal["stays_until_empty"] = "stays_until_empty"


@dataclass(frozen=True, slots=True)
class NothingToPutBack(Message):
    """The run left nothing behind for which something would have to be put back later."""

    kind: Literal["nothing_to_put_back"] = "nothing_to_put_back"


@dataclass(frozen=True, slots=True)
class WaitedTooLong(Message):
    """It was not possible within `days`, and is not tried any more."""

    days: int
    kind: Literal["waited_too_long"] = "waited_too_long"


@dataclass(frozen=True, slots=True)
class GiveTemplateBack(Message):
    """A person is to give the other environment the names of the shared objects back."""

    kind: Literal["remedy.give_template_back"] = "remedy.give_template_back"


@dataclass(frozen=True, slots=True)
class PutObjectBack(Message):
    """A person is to give a shared object the content that a snapshot shows."""

    kind: Literal["remedy.put_object_back"] = "remedy.put_object_back"


@dataclass(frozen=True, slots=True)
class ChangeRefused(Message):
    """The API server refused a change, with `detail`."""

    detail: Reason
    kind: Literal["change_refused"] = "change_refused"


@dataclass(frozen=True, slots=True)
class FiredAfterRollout(Message):
    """A release is bad because a rule fired after its rollout."""

    rule: str
    kind: Literal["fired_after_rollout"] = "fired_after_rollout"


@dataclass(frozen=True, slots=True)
class RunFroze(Message):
    """A run froze its target at its end."""

    run: str
    reason: Reason
    kind: Literal["run_froze"] = "run_froze"


@dataclass(frozen=True, slots=True)
class RunLeft(Message):
    """A release is bad because a run left it."""

    run: str
    kind: Literal["run_left"] = "run_left"


@dataclass(frozen=True, slots=True)
class MarkedBad(Message):
    """A release is bad because a person said so."""

    words: str
    kind: Literal["marked_bad"] = "marked_bad"


@dataclass(frozen=True, slots=True)
class UndoLeft(Message):
    """A release is bad because an undo left it."""

    kind: Literal["undo_left"] = "undo_left"


@dataclass(frozen=True, slots=True)
class ResumeOwner(Message):
    """A person is to resume a GitOps owner."""

    kind: Literal["remedy.resume"] = "remedy.resume"


@dataclass(frozen=True, slots=True)
class DeleteCopy(Message):
    """A person is to delete the copy of a ConfigMap once nothing refers to it."""

    kind: Literal["remedy.delete_copy"] = "remedy.delete_copy"


@dataclass(frozen=True, slots=True)
class DeleteHelper(Message):
    """A person is to delete a helper once it is not needed."""

    kind: Literal["remedy.delete_helper"] = "remedy.delete_helper"


@dataclass(frozen=True, slots=True)
class DeleteEnvironment(Message):
    """A person is to delete an environment that was made in vain."""

    kind: Literal["remedy.delete_environment"] = "remedy.delete_environment"


@dataclass(frozen=True, slots=True)
class GiveSelectorBack(Message):
    """A person is to give a Service its selector back."""

    kind: Literal["remedy.selector"] = "remedy.selector"


@dataclass(frozen=True, slots=True)
class SetBoundsBack(Message):
    """A person is to give an autoscaler the bounds back that it had."""

    written: str
    minimum: str
    maximum: str
    kind: Literal["remedy.bounds"] = "remedy.bounds"


@dataclass(frozen=True, slots=True)
class SetNumberBack(Message):
    """A person is to set a number back; `borrowed` is what it counts."""

    borrowed: str
    object: str
    written: str
    original: str
    kind: Literal["remedy.number"] = "remedy.number"
