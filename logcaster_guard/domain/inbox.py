"""The workload's annotations as the guard's inbox: freezing and lifting a freeze, answers to a question, marks.

A freeze is journalled. It is lifted when a person changes the annotation to a value that begins with `false`, or
removes it, and changes nothing else. An annotation that vanishes, or turns into an old `false`, together with a change
of the spec is the work of an undo, which replaces a Deployment's annotations by older ones: the freeze still holds.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

FREEZE = "guard.logcaster.io/freeze"
VETO = "guard.logcaster.io/veto"
APPROVE = "guard.logcaster.io/approve"
ABANDON = "guard.logcaster.io/abandon"
ROLLBACK = "guard.logcaster.io/rollback"
MARK = "guard.logcaster.io/mark"
MAX_ANSWER = 1_024
MAX_WORDS = MAX_ANSWER // 2
"""Characters of a reason, so that ticket, expiry and the name of whoever gives it fit beside it."""
LONGEST_ANSWER = timedelta(days=1)
_LIFTED = "false"


class Answer(StrEnum):
    """What a person can say to an open run."""

    APPROVE = "approve"
    VETO = "veto"
    ABANDON = "abandon"


class Mark(StrEnum):
    """What a person can say of a release."""

    BAD = "bad"
    NOT_BAD = "not-bad"


ANSWERS: Mapping[str, Answer] = {ABANDON: Answer.ABANDON, VETO: Answer.VETO, APPROVE: Answer.APPROVE}
"""The annotations that answer a run; where several are new at once, the first of these counts first."""


def digest(uid: str, annotation: str, value: str) -> str:
    """What an annotation's content is remembered by: 16 hex digits. `uid` is that of the object it stands on."""
    return hashlib.sha256(f"{uid}/{annotation}/{value}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def written(ticket: str, expiry: datetime, words: str) -> str:
    """The value of an annotation that answers the run with this ticket."""
    return f"{ticket} {stamp(expiry)} {words}".strip()


def stamp(at: datetime) -> str:
    """The instant as annotations name it, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def lifted(reason: str, at: datetime) -> str:
    """The value of `FREEZE` that lifts a freeze: the instant makes it another one than any before."""
    return f"{_LIFTED}: {reason} ({stamp(at)})"


class Freezing(StrEnum):
    """What a person can say about freezing, by the word of the command."""

    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Frozen:
    """What holds a target: its annotation (None: there is none) and, by the journal, who froze it.

    `by` is None where nobody did, and empty where nobody can tell.
    """

    annotation: str | None
    by: str | None


def freezing(word: Freezing, frozen: Frozen, reason: str, at: datetime) -> str | Denied:
    """The value of `FREEZE` that does it, or why it is not written."""
    theirs = frozen.annotation if is_freeze(frozen.annotation) else None
    if word is Freezing.FREEZE:
        return reason if is_freeze(reason) else Denied(f"a reason that begins with {_LIFTED} would lift a freeze")
    if theirs is None and frozen.by is None:
        return Denied("it is not frozen")
    if word is Freezing.RESUME and (theirs is not None or frozen.by == "annotation"):
        return Denied(f"a person froze it ({theirs or 'see status'}): unfreeze it once that is over")
    return lifted(reason, at)


def freeze_of(annotations: Mapping[str, str]) -> str | None:
    """What `FREEZE` says (None: it is not there), bounded: it is journalled, and an annotation may be of any size.

    Of a longer value the end gives way to its length and digest, so that two that differ in it still do.
    """
    if FREEZE not in annotations:
        return None
    value = annotations[FREEZE].strip()
    if len(value) <= MAX_ANSWER:
        return value
    whole = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{value[:MAX_ANSWER]}… ({len(value)} characters, SHA-256 {whole})"


def is_freeze(value: str | None) -> bool:
    """Whether a value of `FREEZE` (None: there is none) freezes."""
    return value is not None and not value.strip().lower().startswith(_LIFTED)


def unfit_words(words: str) -> str | None:
    """Why a reason cannot be written; None if it can."""
    if not words.strip() or not words.isprintable() or len(words) > MAX_WORDS:
        return f"a reason is needed, of printable characters, at most {MAX_WORDS}"
    return None


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


@dataclass(frozen=True, slots=True)
class Given:
    """A person's answer counts; `words` are what they wrote with it, `expiry` the instant until which it holds."""

    words: str
    expiry: datetime


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
    return Given(words.strip(), expiry.astimezone(UTC))
