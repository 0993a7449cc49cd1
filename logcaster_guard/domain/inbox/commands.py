"""Operator commands with an expiry: what each applies to, and how an annotation holds it.

Each is `<subject> <instant until which it holds> [arguments] <reason>`. The subject is the approval token of a run and
its plan, or the hash of a release's template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from logcaster_guard.domain.inbox import freezes
from logcaster_guard.domain.inbox.annotations import (
    ABANDON,
    APPROVE,
    FREEZE,
    MARK,
    ROLLBACK,
    VETO,
    Denied,
    stamp,
)
from logcaster_guard.domain.inbox.denials import NoVariables
from logcaster_guard.domain.inbox.freezes import SetFreeze
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.variables import LONGEST_LIST, MOST_NAMES, is_list_of_names

LONGEST = timedelta(days=1)
"""How far ahead an expiry may be, so that what is left behind, or comes back with an undo, does not count for ever."""
ANSWER_VALID_FOR = timedelta(minutes=10)
"""For how long an answer to a run stands where no question names an end."""
MARK_VALID_FOR = timedelta(minutes=10)
ROLLBACK_VALID_FOR = timedelta(minutes=5)

ASKABLE = (Action.IMMEDIATE, Action.GRADUAL, Action.BLUE_GREEN, Action.ENV, Action.CONFIG)
"""The ways back that a person can ask for."""
BEST = "-"
"""Stands in the annotation for the best release there is."""

_TOKEN = re.compile(r"[0-9a-f]{16}", re.ASCII)


class RunCommand(StrEnum):
    """What a person can say to an open run."""

    APPROVE = "approve"
    VETO = "veto"
    ABANDON = "abandon"

    @property
    def annotation(self) -> str:
        """The annotation that says it."""
        return {RunCommand.APPROVE: APPROVE, RunCommand.VETO: VETO, RunCommand.ABANDON: ABANDON}[self]


RUN_COMMANDS = (RunCommand.ABANDON, RunCommand.VETO, RunCommand.APPROVE)
"""Where several are new at once, the first of these counts first."""


class Mark(StrEnum):
    """What a person can say of a release."""

    BAD = "bad"
    NOT_BAD = "not-bad"


@dataclass(frozen=True, slots=True)
class Wish:
    """The rollback that a person wants.

    `to` is the revision's number or the first digits (six at least) of its template's hash; empty for the best one.
    `only` names the variables that an `env_rollback` restores; empty for all.
    """

    action: Action
    to: str = ""
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerRun:
    """Approve, veto or abandon the run with this approval token."""

    command: RunCommand
    approval_token: str
    expiry: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class MarkRelease:
    """Mark the release with this hash of its template."""

    template: str
    expiry: datetime
    mark: Mark
    reason: str


@dataclass(frozen=True, slots=True)
class RollBack:
    """Carry out the rollback whose plan was shown under this approval token."""

    approval_token: str
    expiry: datetime
    wish: Wish
    reason: str


Dated = AnswerRun | MarkRelease | RollBack
Command = Dated | SetFreeze


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of an annotation: `counted`, with its author's words, or denied, with the reason."""

    at: datetime
    annotation: str
    digest: str
    run: str | None
    counted: bool
    words: Reason


def is_approval_token(text: str) -> bool:
    """Whether it has the form of one: 16 hex digits."""
    return _TOKEN.fullmatch(text) is not None


def is_name_of_release(text: str) -> bool:
    """Whether it can stand in an annotation as the name of a release."""
    return bool(text) and " " not in text and text.isprintable()


def wished(action: Action, to: str, only: str | None) -> Wish | Message:
    """The rollback that these words ask for, or why none is; `only` are names joined by commas, None for no names."""
    names = () if only is None else tuple(only.split(","))
    if only is None or (action is Action.ENV and is_list_of_names(names)):
        return Wish(action, to, names)
    return NoVariables(Action.ENV, MOST_NAMES, LONGEST_LIST)


def expiry_of_answer(command: RunCommand, asked_until: datetime | None, now: datetime) -> datetime:
    """Until when an answer holds. `asked_until` is the end of the open question; None if nobody is asked."""
    if asked_until is None or command is RunCommand.ABANDON:
        return now + ANSWER_VALID_FOR
    return min(asked_until, now + LONGEST)


def annotation_of(command: Command) -> str:
    """The annotation that holds it."""
    match command:
        case AnswerRun():
            return command.command.annotation
        case MarkRelease():
            return MARK
        case RollBack():
            return ROLLBACK
        case SetFreeze():
            return FREEZE


def value_of(command: Dated) -> str:
    """The value of its annotation."""
    match command:
        case AnswerRun(_, subject, expiry, reason):
            arguments = ""
        case MarkRelease(subject, expiry, mark, reason):
            arguments = f"{mark} "
        case RollBack(subject, expiry, wish, reason):
            only = f"={','.join(wish.only)}" if wish.only else ""
            arguments = f"{wish.action}{only} {wish.to or BEST} "
    return f"{subject} {stamp(expiry)} {arguments}{reason}".strip()


def value_on(annotations: Mapping[str, str], command: Command, at: datetime) -> str | Denied:
    """The value of its annotation beside those that the workload has, or why it is not written."""
    return freezes.written(command, annotations, at) if isinstance(command, SetFreeze) else value_of(command)
