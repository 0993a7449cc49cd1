"""Why a step of a run is done, has failed or is somebody else's, as messages. `who` is the field manager, if any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class RolloutIncomplete(Message):
    """The rollout of the good release was not complete in time; `detail` is what was seen last."""

    detail: Reason
    kind: Literal["step.rollout_incomplete"] = "step.rollout_incomplete"


@dataclass(frozen=True, slots=True)
class RecoveryNotShown(Message):
    """That the target has recovered could not be shown in time."""

    detail: Reason
    kind: Literal["step.recovery_not_shown"] = "step.recovery_not_shown"


@dataclass(frozen=True, slots=True)
class ServesUnknown(Message):
    """Whether the good release serves well could not be told in time."""

    detail: Reason
    kind: Literal["step.serves_unknown"] = "step.serves_unknown"


@dataclass(frozen=True, slots=True)
class NobodyApproved(Message):
    """Nobody approved in time; `detail` is empty or what was seen last."""

    detail: Reason
    kind: Literal["step.nobody_approved"] = "step.nobody_approved"


@dataclass(frozen=True, slots=True)
class HealthUnanswered(Message):
    """The other environment did not answer its health check in time."""

    detail: Reason
    kind: Literal["step.health_unanswered"] = "step.health_unanswered"


@dataclass(frozen=True, slots=True)
class NotHealthy(Message):
    """The other environment answers its health check badly."""

    detail: Reason
    kind: Literal["step.not_healthy"] = "step.not_healthy"


@dataclass(frozen=True, slots=True)
class StillInBreach(Message):
    """The rules are still met after the rollback."""

    detail: Reason
    kind: Literal["step.still_in_breach"] = "step.still_in_breach"


@dataclass(frozen=True, slots=True)
class QuietFor(Message):
    """The rules were quiet for as long as was asked, in seconds."""

    seconds: float
    detail: Reason
    kind: Literal["step.quiet_for"] = "step.quiet_for"


@dataclass(frozen=True, slots=True)
class BreachWentAway(Message):
    """The breach went away by itself."""

    detail: Reason
    kind: Literal["step.breach_went_away"] = "step.breach_went_away"


@dataclass(frozen=True, slots=True)
class TargetWasFrozen(Message):
    """The target was frozen while people were asked."""

    words: str
    kind: Literal["step.target_was_frozen"] = "step.target_was_frozen"


@dataclass(frozen=True, slots=True)
class NobodyObjected(Message):
    """Nobody objected in time."""

    kind: Literal["step.nobody_objected"] = "step.nobody_objected"


@dataclass(frozen=True, slots=True)
class DoesNotStart(Message):
    """No pod of the good release ever starts; `detail` is in the kubelet's words."""

    detail: Reason
    kind: Literal["step.does_not_start"] = "step.does_not_start"


@dataclass(frozen=True, slots=True)
class NoProgress(Message):
    """The controller has given the good release's rollout up."""

    detail: Reason
    kind: Literal["step.no_progress"] = "step.no_progress"


@dataclass(frozen=True, slots=True)
class DoesNotComeUp(Message):
    """Not enough pods become Ready; `other`: of the other environment."""

    other: bool
    detail: Reason
    kind: Literal["step.does_not_come_up"] = "step.does_not_come_up"


@dataclass(frozen=True, slots=True)
class PodsCrashed(Message):
    """Not enough pods become Ready, and some have crashed."""

    detail: Reason
    crashed: int
    kind: Literal["step.pods_crashed"] = "step.pods_crashed"


@dataclass(frozen=True, slots=True)
class DoesNotStayUp(Message):
    """Pods do not stay Ready; `other`: of the other environment."""

    other: bool
    detail: Reason
    kind: Literal["step.does_not_stay_up"] = "step.does_not_stay_up"


@dataclass(frozen=True, slots=True)
class FailsToo(Message):
    """The good release fails more often than it may."""

    measured: Reason
    threshold: str
    kind: Literal["step.fails_too"] = "step.fails_too"


@dataclass(frozen=True, slots=True)
class FaresUnread(Message):
    """How the good release fares could not be read."""

    measured: Reason
    kind: Literal["step.fares_unread"] = "step.fares_unread"


@dataclass(frozen=True, slots=True)
class TooFewToJudge(Message):
    """There were too few requests to judge the good release."""

    measured: Reason
    kind: Literal["step.too_few_to_judge"] = "step.too_few_to_judge"


@dataclass(frozen=True, slots=True)
class EnvironmentWorse(Message):
    """The other environment fails more often than the one before."""

    measured: Reason
    before: Reason
    kind: Literal["step.environment_worse"] = "step.environment_worse"


@dataclass(frozen=True, slots=True)
class SizeIsTheirs(Message):
    """Somebody else set a size; `before` is what it was."""

    now: int
    before: str
    who: Reason
    kind: Literal["step.size_is_theirs"] = "step.size_is_theirs"


@dataclass(frozen=True, slots=True)
class MinimumIsTheirs(Message):
    """Somebody else set an autoscaler's minimum."""

    now: str
    before: str
    who: Reason
    kind: Literal["step.minimum_is_theirs"] = "step.minimum_is_theirs"


@dataclass(frozen=True, slots=True)
class BoundsAreTheirs(Message):
    """Somebody else set an autoscaler's bounds."""

    minimum: str
    maximum: str
    before_minimum: str
    before_maximum: str
    who: Reason
    kind: Literal["step.bounds_are_theirs"] = "step.bounds_are_theirs"


@dataclass(frozen=True, slots=True)
class SelectorIsTheirs(Message):
    """Somebody else changed the Service's selector."""

    who: Reason
    kind: Literal["step.selector_is_theirs"] = "step.selector_is_theirs"


@dataclass(frozen=True, slots=True)
class MadeAnewByOthers(Message):
    """An object was created again by somebody else."""

    what: str
    kind: Literal["step.made_anew_by_others"] = "step.made_anew_by_others"


@dataclass(frozen=True, slots=True)
class OwnerResumedByOthers(Message):
    """Somebody else has resumed the GitOps owner."""

    owner: str
    kind: Literal["step.owner_resumed_by_others"] = "step.owner_resumed_by_others"


@dataclass(frozen=True, slots=True)
class OwnerKeptByOthers(Message):
    """Somebody else keeps the GitOps owner suspended."""

    owner: str
    kind: Literal["step.owner_kept_by_others"] = "step.owner_kept_by_others"


@dataclass(frozen=True, slots=True)
class SomebodyPutBadBack(Message):
    """Somebody put the bad release back."""

    who: Reason
    kind: Literal["step.somebody_put_bad_back"] = "step.somebody_put_bad_back"
