"""Freezing a target and lifting a freeze, by the annotation `FREEZE`.

A freeze is journalled. It is lifted when a person changes the annotation to a value that begins with `false`, or
removes it, and changes nothing else. An annotation that vanishes, or turns into an old `false`, together with a change
of the spec is the work of an undo, which replaces a Deployment's annotations by older ones: the freeze still holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from logcaster_guard.domain.inbox.annotations import FREEZE, MAX_LENGTH, Denied, stamp
from logcaster_guard.domain.inbox.denials import FrozenByPerson, NotFrozen, WouldLift

LIFTED = "false"
"""What a value of `FREEZE` that lifts a freeze begins with."""
BY_ANNOTATION = "annotation"
"""By whom a target is frozen whom a person froze."""


class FreezeCommand(StrEnum):
    """What a person can say about freezing."""

    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class SetFreeze:
    """Freeze a target, or lift a freeze.

    `frozen_by` is who froze it by the journal: None where nobody did, and empty where nobody can tell.
    """

    command: FreezeCommand
    reason: str
    frozen_by: str | None


def written(said: SetFreeze, annotations: Mapping[str, str], at: datetime) -> str | Denied:
    """The value of `FREEZE` that does it beside these annotations of the workload, or why it is not written."""
    if said.command is FreezeCommand.FREEZE:
        objection = Denied(WouldLift(LIFTED))
        return said.reason if _freezes(said.reason) else objection
    theirs = freeze_on(annotations)
    if theirs is None and said.frozen_by is None:
        return Denied(NotFrozen())
    if said.command is FreezeCommand.RESUME and (theirs is not None or said.frozen_by == BY_ANNOTATION):
        return Denied(FrozenByPerson(theirs or ""))
    # The instant makes it another value than any before.
    return f"{LIFTED}: {said.reason} ({stamp(at)})"


def freeze_on(annotations: Mapping[str, str]) -> str | None:
    """The reason of a person's freeze that these annotations of the workload hold; None if they hold none."""
    text = text_on(annotations)
    return text if text is not None and _freezes(text) else None


def text_on(annotations: Mapping[str, str]) -> str | None:
    """What `FREEZE` says (None: it is not there), bounded: it is journalled, and an annotation may be of any size.

    The end of a longer value gives way to its length and digest, so that two that differ in it still do.
    """
    if FREEZE not in annotations:
        return None
    value = annotations[FREEZE].strip()
    if len(value) <= MAX_LENGTH:
        return value
    whole = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{value[:MAX_LENGTH]}… ({len(value)} characters, SHA-256 {whole})"


def _freezes(text: str) -> bool:
    return not text.strip().lower().startswith(LIFTED)


class FreezeChange(StrEnum):
    """What the annotation says when it is looked at again."""

    NOTHING = "nothing"
    FREEZE = "freeze"
    LIFT = "lift"
    OVERWRITTEN = "overwritten"


@dataclass(frozen=True, slots=True)
class Seen:
    """The annotation (None: not there) and the digest of the workload's spec when it was looked at.

    The generation would not do: the API server raises a Deployment's when an annotation changes.
    """

    text: str | None
    spec: str


def change(before: Seen | None, now: Seen, *, frozen_by_annotation: bool) -> FreezeChange:
    """What changed between two looks; `before` is None for the first look of a process.

    `frozen_by_annotation`: the journal holds a freeze that came from the annotation.
    """
    if now.text is None:
        if not frozen_by_annotation:
            return FreezeChange.NOTHING
        removed = before is not None and before.text is not None and before.spec == now.spec
        return FreezeChange.LIFT if removed else FreezeChange.OVERWRITTEN
    if _freezes(now.text):
        return FreezeChange.FREEZE
    if before is None or before.text == now.text:
        return FreezeChange.NOTHING
    return FreezeChange.LIFT if before.spec == now.spec else FreezeChange.OVERWRITTEN
