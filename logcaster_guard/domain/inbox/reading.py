"""What an annotation says, and whether it applies: to the open run, to a release of the ledger, to a rollback."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from logcaster_guard.domain.inbox.annotations import MAX_LENGTH, Denied
from logcaster_guard.domain.inbox.commands import (
    ASKABLE,
    BEST,
    LONGEST,
    AnswerRun,
    Mark,
    MarkRelease,
    RollBack,
    RunCommand,
    wished,
)
from logcaster_guard.domain.inbox.denials import (
    AnsweredAlready,
    NamesAnother,
    NoAction,
    NoInstant,
    NoMark,
    NoRunOpen,
    NotAnAnnotation,
    NoTimeZone,
    NotInTime,
    RevisionNotBad,
    RunAsksNoMore,
    RunEndsAlready,
    RunLeavesIt,
    UnknownRelease,
)
from logcaster_guard.domain.ledger import Ledger
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.runs import Run

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class _Parsed:
    subject: str
    expiry: datetime
    rest: str


def answer(command: RunCommand, value: str, run: Run | None, now: datetime) -> AnswerRun | Denied:
    """What the annotation for `command` says to the target's open run (None: there is none)."""
    if run is None:
        return Denied(NoRunOpen())
    token = run.opened.approval_token
    # The comparison takes the same time whatever was given.
    found = _parsed(value, now, lambda given: hmac.compare_digest(given.encode(), token.encode()))
    if isinstance(found, Denied):
        return found
    objection = _objection(run, command)
    return AnswerRun(command, token, found.expiry, found.rest) if objection is None else Denied(objection)


def _objection(run: Run, command: RunCommand) -> Message | None:
    said = None if run.said is None else run.said.answer
    if run.closed is not None or run.ending is not None or said is RunCommand.ABANDON:
        return RunEndsAlready(run.id)
    if command is RunCommand.ABANDON:
        return None
    if run.asks is None:
        return RunAsksNoMore(run.id)
    if said is RunCommand.VETO or said is command:
        return AnsweredAlready(run.id, said)
    return None


def mark(value: str, ledger: Ledger, run: Run | None, now: datetime) -> MarkRelease | Denied:
    """What the annotation says of a release, or why it does not count; `run` is the target's open one.

    What a run is leaving stays bad until that has ended: its fallback must not go back there.
    """
    found = _parsed(value, now)
    if isinstance(found, Denied):
        return found
    text, _, reason = found.rest.partition(" ")
    if text not in set(Mark):
        return Denied(NoMark(tuple(Mark)))
    said = MarkRelease(found.subject, found.expiry, Mark(text), reason.strip())
    record = ledger.record_of(ReleaseId.of_key(said.template))
    if record is None:
        return Denied(UnknownRelease(said.template[:_SHOWN]))
    if said.mark is Mark.BAD:
        return said
    if record.bad_since is None:
        return Denied(RevisionNotBad(record.name))
    if run is not None and record == ledger.record_of(run.opened.plan.origin):
        return Denied(RunLeavesIt(run.id, record.name))
    return said


def rollback(value: str, now: datetime) -> RollBack | Denied:
    """The rollback that the annotation asks for; whether its approval token fits is for whoever plans it to say."""
    found = _parsed(value, now)
    if isinstance(found, Denied):
        return found
    way, _, rest = found.rest.partition(" ")
    action, named, listed = way.partition("=")
    to, _, reason = rest.strip().partition(" ")
    if action not in ASKABLE or not to:
        return Denied(NoAction(ASKABLE, BEST))
    wish = wished(Action(action), "" if to == BEST else to, listed if named else None)
    if isinstance(wish, Message):
        return Denied(wish)
    return RollBack(found.subject, found.expiry, wish, reason.strip())


def _parsed(value: str, now: datetime, fits: Callable[[str], bool] = lambda _: True) -> _Parsed | Denied:
    """`<subject> <instant> [rest]` where the subject fits and the instant, in RFC 3339, is at most a day ahead."""
    if len(value) > MAX_LENGTH or not value.isprintable():
        return Denied(NotAnAnnotation(MAX_LENGTH))
    subject, _, rest = value.strip().partition(" ")
    instant, _, rest = rest.strip().partition(" ")
    if not fits(subject):
        return Denied(NamesAnother())
    try:
        expiry = datetime.fromisoformat(instant)
    except ValueError:
        return Denied(NoInstant())
    if expiry.tzinfo is None:
        return Denied(NoTimeZone())
    if not now < expiry <= now + LONGEST:
        return Denied(NotInTime())
    return _Parsed(subject, expiry.astimezone(UTC), rest.strip())
