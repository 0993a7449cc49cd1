"""The annotations that make up the inbox, their bounds, and what one is remembered by once it was processed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from logcaster_guard.domain.inbox.denials import ReasonNeeded
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.workload import Workload

FREEZE = "guard.logcaster.io/freeze"
VETO = "guard.logcaster.io/veto"
APPROVE = "guard.logcaster.io/approve"
ABANDON = "guard.logcaster.io/abandon"
ROLLBACK = "guard.logcaster.io/rollback"
MARK = "guard.logcaster.io/mark"

MAX_LENGTH = 1_024
"""Characters of an annotation that counts."""
MAX_REASON = MAX_LENGTH // 2
"""Characters of a reason, so that approval token, expiry and the name of whoever gives it fit beside it."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The command does not count, or is not written, and why."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Written:
    """An annotation that was not processed yet. `digest` is what it is remembered by."""

    annotation: str
    value: str
    digest: str


def unprocessed(workload: Workload, annotation: str, known: Callable[[str], bool]) -> Written | None:
    """What the annotation of the workload says, if it is there and its digest is not `known` as processed."""
    value = workload.annotations.get(annotation)
    if value is None:
        return None
    found = Written(annotation, value, digest(workload.uid, annotation, value))
    return None if known(found.digest) else found


def digest(uid: str, annotation: str, value: str) -> str:
    """What an annotation's content is remembered by: 16 hex digits. `uid` is that of the object that carries it."""
    return hashlib.sha256(f"{uid}/{annotation}/{value}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def stamp(at: datetime) -> str:
    """The instant as annotations name it, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def objection_to_reason(reason: str) -> Message | None:
    """Why a reason cannot be written; None if it can."""
    if not reason.strip() or not reason.isprintable() or len(reason) > MAX_REASON:
        return ReasonNeeded(MAX_REASON)
    return None
