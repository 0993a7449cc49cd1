"""What the ReplicaSets from before the guard's time prove of their revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from logcaster_guard.domain.workload import Revision


@dataclass(frozen=True, slots=True)
class Proof:
    """What the ReplicaSets prove of a revision: seconds it stood, and whether an undo left it."""

    revision: Revision
    stood: float
    superseded_by_undo: bool


def proofs(revisions: Sequence[Revision]) -> Sequence[Proof]:
    """What the ReplicaSets prove of every revision but the newest, oldest first by revision number.

    A revision stood from its creation to the creation of the next number's ReplicaSet; only a ReplicaSet that was never
    re-used tells either instant. Number n of a re-used ReplicaSet is an undo if what it superseded (number n - 1) began
    after it; the superseded one was then left by that undo.
    """
    by_number = {n: r for r in revisions for n in r.numbers}
    left_by_undo = set()
    for revision in revisions:
        for number in revision.numbers[1:]:
            left = by_number.get(number - 1)
            if left is not None and left.uid != revision.uid and left.numbers[0] > revision.numbers[0]:
                left_by_undo.add(left.uid)
    found = []
    for revision in revisions[:-1]:
        successor = by_number.get(revision.number + 1)
        stood = timedelta(0)
        if successor is not None and not revision.earlier and successor.numbers[0] == revision.number + 1:
            stood = max(stood, successor.created - revision.created)
        found.append(Proof(revision, stood.total_seconds(), revision.uid in left_by_undo))
    return found
