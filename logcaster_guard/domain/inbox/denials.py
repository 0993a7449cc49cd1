"""Why what a person said to the guard does not count, as messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class NoRunOpen(Message):
    """There is nothing that the answer could be to."""

    kind: Literal["denied.no_run_open"] = "denied.no_run_open"


@dataclass(frozen=True, slots=True)
class RunIsOver(Message):
    """The run that the answer was to has ended meanwhile."""

    kind: Literal["denied.run_is_over"] = "denied.run_is_over"


@dataclass(frozen=True, slots=True)
class RunEndsAlready(Message):
    """The run is ending."""

    run: str
    kind: Literal["denied.run_ends_already"] = "denied.run_ends_already"


@dataclass(frozen=True, slots=True)
class RunAsksNoMore(Message):
    """The run does not wait for an answer any more."""

    run: str
    kind: Literal["denied.run_asks_no_more"] = "denied.run_asks_no_more"


@dataclass(frozen=True, slots=True)
class AnsweredAlready(Message):
    """Somebody has answered the run before."""

    run: str
    answer: str
    kind: Literal["denied.answered_already"] = "denied.answered_already"


@dataclass(frozen=True, slots=True)
class NoMark(Message):
    """The annotation does not say a mark."""

    marks: tuple[str, ...]
    kind: Literal["denied.no_mark"] = "denied.no_mark"


@dataclass(frozen=True, slots=True)
class UnknownRelease(Message):
    """The annotation names no release that the guard knows."""

    template: str
    kind: Literal["denied.unknown_release"] = "denied.unknown_release"


@dataclass(frozen=True, slots=True)
class RevisionNotBad(Message):
    """The mark would lift what is not there."""

    revision: str
    kind: Literal["denied.revision_not_bad"] = "denied.revision_not_bad"


@dataclass(frozen=True, slots=True)
class RunLeavesIt(Message):
    """An open run is rolling the revision back."""

    run: str
    revision: str
    kind: Literal["denied.run_leaves_it"] = "denied.run_leaves_it"


@dataclass(frozen=True, slots=True)
class NoAction(Message):
    """The annotation names no way back and release."""

    actions: tuple[str, ...]
    best: str
    kind: Literal["denied.no_action"] = "denied.no_action"


@dataclass(frozen=True, slots=True)
class NoVariables(Message):
    """The variables that are named are too many, or no names, or another way back is asked for."""

    action: str
    most: int
    longest: int
    kind: Literal["denied.no_variables"] = "denied.no_variables"


@dataclass(frozen=True, slots=True)
class NotAnAnnotation(Message):
    """The annotation is too long, or not printable."""

    longest: int
    kind: Literal["denied.not_an_annotation"] = "denied.not_an_annotation"


@dataclass(frozen=True, slots=True)
class NamesAnother(Message):
    """The annotation names another run or plan."""

    kind: Literal["denied.names_another"] = "denied.names_another"


@dataclass(frozen=True, slots=True)
class NoInstant(Message):
    """The annotation does not say until when it holds."""

    kind: Literal["denied.no_instant"] = "denied.no_instant"


@dataclass(frozen=True, slots=True)
class NoTimeZone(Message):
    """The annotation's instant has no time zone."""

    kind: Literal["denied.no_time_zone"] = "denied.no_time_zone"


@dataclass(frozen=True, slots=True)
class NotInTime(Message):
    """The annotation has expired, or holds for too long."""

    kind: Literal["denied.not_in_time"] = "denied.not_in_time"


@dataclass(frozen=True, slots=True)
class WouldLift(Message):
    """The reason for a freeze would lift it."""

    lifted: str
    kind: Literal["denied.would_lift"] = "denied.would_lift"


@dataclass(frozen=True, slots=True)
class NotFrozen(Message):
    """There is no freeze to lift."""

    kind: Literal["denied.not_frozen"] = "denied.not_frozen"


@dataclass(frozen=True, slots=True)
class FrozenByPerson(Message):
    """A person froze the target; `words` are theirs, or empty."""

    words: str
    kind: Literal["denied.frozen_by_person"] = "denied.frozen_by_person"


@dataclass(frozen=True, slots=True)
class NoRequest(Message):
    """The annotation is no request for a rollback, for `reason`."""

    annotation: str
    reason: Reason
    kind: Literal["denied.no_request"] = "denied.no_request"


@dataclass(frozen=True, slots=True)
class KnownRelease(Message):
    """A release that a person can name, with what the guard knows of it."""

    name: str
    template: str
    release_status: str
    kind: Literal["denied.known_release"] = "denied.known_release"


@dataclass(frozen=True, slots=True)
class NoKnownGood(Message):
    """No release but the present one is known to be good."""

    known: tuple[KnownRelease, ...]
    kind: Literal["denied.no_known_good"] = "denied.no_known_good"


@dataclass(frozen=True, slots=True)
class PresentAlready(Message):
    """The release that was named is the present one."""

    revision: str
    kind: Literal["denied.present_already"] = "denied.present_already"


@dataclass(frozen=True, slots=True)
class RevisionIsBad(Message):
    """The release that was named is bad, for `reason`."""

    revision: str
    reason: Reason
    kind: Literal["denied.revision_is_bad"] = "denied.revision_is_bad"


@dataclass(frozen=True, slots=True)
class NotOneRevision(Message):
    """The name is none that the guard knows, or that of `several`."""

    name: str
    several: bool
    known: tuple[KnownRelease, ...]
    kind: Literal["denied.not_one_revision"] = "denied.not_one_revision"


@dataclass(frozen=True, slots=True)
class NotWhatWasAgreed(Message):
    """What would be done now is not what the person agreed to."""

    kind: Literal["denied.not_what_was_agreed"] = "denied.not_what_was_agreed"


@dataclass(frozen=True, slots=True)
class DryRunOnly(Message):
    """Nothing is written; `steps` are what would have been."""

    steps: tuple[Reason, ...]
    kind: Literal["denied.dry_run_only"] = "denied.dry_run_only"


@dataclass(frozen=True, slots=True)
class DestinationBadNow(Message):
    """The destination was marked bad meanwhile."""

    kind: Literal["denied.destination_bad_now"] = "denied.destination_bad_now"


@dataclass(frozen=True, slots=True)
class JournalMovedOn(Message):
    """Somebody else wrote the journal meanwhile."""

    kind: Literal["denied.journal_moved_on"] = "denied.journal_moved_on"


@dataclass(frozen=True, slots=True)
class ReleaseUnreadable(Message):
    """The saved release cannot be read, for `reason`."""

    reason: Reason
    kind: Literal["denied.release_unreadable"] = "denied.release_unreadable"


@dataclass(frozen=True, slots=True)
class ReasonNeeded(Message):
    """A person gives no reason, or none that can be written down."""

    longest: int
    kind: Literal["denied.reason_needed"] = "denied.reason_needed"
