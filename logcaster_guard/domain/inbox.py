"""The workload's annotations as the guard's inbox: freezing and lifting a freeze.

A freeze is journalled. It is lifted when a person sets the annotation to a value that begins with `false`, or removes
it and changes nothing else. An annotation that vanishes together with a change of the spec was wiped by an undo, which
replaces a Deployment's annotations: the freeze still holds.
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
        unchanged = before is not None and before.spec == now.spec
        return Wish.THAW if unchanged and before is not None and before.value is not None else Wish.WIPED
    if now.value.strip().lower().startswith("false"):
        return Wish.THAW if before is not None and before.value != now.value else Wish.NOTHING
    return Wish.FREEZE
