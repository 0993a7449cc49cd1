"""The workload's annotations as the guard's inbox: freezing and lifting a freeze.

A freeze is journalled. It is lifted when a person changes the annotation to a value that begins with `false`, or
removes it, and changes nothing else. An annotation that vanishes, or turns into an old `false`, together with a change
of the spec is the work of an undo, which replaces a Deployment's annotations by older ones: the freeze still holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FREEZE = "guard.logcaster.io/freeze"


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
    if not now.value.strip().lower().startswith("false"):
        return Wish.FREEZE
    if before is None or before.value == now.value:
        return Wish.NOTHING
    return Wish.THAW if before.spec == now.spec else Wish.WIPED
