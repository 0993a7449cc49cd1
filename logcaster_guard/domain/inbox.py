"""The workload's annotations as the guard's inbox: freezing and lifting a freeze, and answers to a question.

A freeze is journalled. It is lifted when a person changes the annotation to a value that begins with `false`, or
removes it, and changes nothing else. An annotation that vanishes, or turns into an old `false`, together with a change
of the spec is the work of an undo, which replaces a Deployment's annotations by older ones: the freeze still holds.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

FREEZE = "guard.logcaster.io/freeze"
VETO = "guard.logcaster.io/veto"
APPROVE = "guard.logcaster.io/approve"
ROLLBACK = "guard.logcaster.io/rollback"
MAX_ANSWER = 1_024
LONGEST_ANSWER = timedelta(days=1)


class Wish(StrEnum):
    """What the annotation says when it is looked at again."""

    NOTHING = "nothing"
    FREEZE = "freeze"
    THAW = "thaw"
    WIPED = "wiped"


@dataclass(frozen=True, slots=True)
class Seen:
    """The annotation (None: not there) and the digest of the Deployment's spec when it was looked at.

    The generation would not do: the API server raises a Deployment's when an annotation changes.
    """

    value: str | None
    spec: str


def wish(before: Seen | None, now: Seen, *, frozen_by_annotation: bool) -> Wish:
    """What changed between two looks; `before` is None for the first look of a process.

    `frozen_by_annotation`: the journal holds a freeze that came from the annotation.
    """
    if now.value is None:
        if not frozen_by_annotation:
            return Wish.NOTHING
        removed = before is not None and before.value is not None and before.spec == now.spec
        return Wish.THAW if removed else Wish.WIPED
    if is_freeze(now.value):
        return Wish.FREEZE
    if before is None or before.value == now.value:
        return Wish.NOTHING
    return Wish.THAW if before.spec == now.spec else Wish.WIPED


def is_freeze(value: str | None) -> bool:
    """Whether a value of `FREEZE` (None: there is none) freezes."""
    return value is not None and not value.strip().lower().startswith("false")


@dataclass(frozen=True, slots=True)
class Given:
    """A person's answer counts; `words` are what they wrote with it."""

    words: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The annotation is no answer to this run, and why."""

    reason: str


def answer(value: str, ticket: str, now: datetime) -> Given | Denied:
    """What `<ticket> <expiry> [words]` says to the run with this ticket at `now`.

    `expiry` is an RFC 3339 instant, at most a day ahead, so that an answer that is left behind, or comes back with an
    undo, does not count for ever. The comparison takes the same time whatever was given.
    """
    if len(value) > MAX_ANSWER or not value.isprintable():
        return Denied(f"it is longer than {MAX_ANSWER} characters, or holds control characters")
    given, _, rest = value.strip().partition(" ")
    text, _, words = rest.strip().partition(" ")
    if not hmac.compare_digest(given.encode(), ticket.encode()):
        return Denied("it names another run or plan")
    try:
        expiry = datetime.fromisoformat(text)
    except ValueError:
        return Denied("it names no instant until which it holds, such as 2026-01-31T12:00:00Z")
    if expiry.tzinfo is None:
        return Denied("its instant has no time zone")
    if not now < expiry <= now + LONGEST_ANSWER:
        return Denied("it has expired, or holds for more than a day")
    return Given(words.strip())
