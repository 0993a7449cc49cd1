"""What every matrix is made of: the cases, the points of an undisturbed rollback, and what it does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from logcaster_guard.domain.errors import JournalConflict
from logcaster_guard.domain.gitops import OwnerKind
from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.rollbacks.ways import WAYS
from tests.cluster.case import Case
from tests.cluster.crashes import Crash, Point
from tests.cluster.ending import Undisturbed, ending, writes_of
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene

RECORDINGS = 3
BY_TIMING = frozenset({"append to target: RevisionNumbered"})
"""What happens only where a guard sees a release before that has its number."""
MATRIX = (
    Case(Action.IMMEDIATE),
    Case(Action.IMMEDIATE, in_cluster=True),
    Case(Action.GRADUAL),
    Case(Action.GRADUAL, beside=0.5),
    Case(Action.ALERT_THEN),
    Case(Action.BLUE_GREEN),
    Case(Action.BLUE_GREEN, beside=0.5),
    Case(Action.BLUE_GREEN, missing=True),
    Case(Action.ENV),
    Case(Action.IMMEDIATE, config=True),
    Case(Action.GRADUAL, config=True),
    Case(Action.IMMEDIATE, config=True, secret=True),
    Case(Action.GRADUAL, secret=True),
    Case(Action.BLUE_GREEN, config=True),
    Case(Action.CONFIG),
    Case(Action.IMMEDIATE, owner=OwnerKind.KUSTOMIZATION),
)
"""Every action that changes something in this version; once with a good release that is none."""

ROWS = tuple(
    (case, minimum)
    for case in MATRIX
    for minimum in (None, 2)
    if minimum is None or not (case.changes_variables or case.held)
)
"""Each case without an autoscaler and with one, whose minimum it is.

Variables, and what follows a ConfigMap or Secret, are written as any template is.
"""

ONCE = {
    False: Undisturbed(Counter(deployments=1, events=3), 1),
    True: Undisturbed(Counter(deployments=1, events=3, horizontalpodautoscalers=3), 1),
}
"""What an immediate rollback does, without and with an autoscaler: raised, put back, and the field handed back."""


def actions_with_a_way_back() -> set[Action]:
    """The actions that change something."""
    return {way.action for way in WAYS}


async def record(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case, minimum: int | None
) -> tuple[Sequence[Point], Undisturbed]:
    """The points of a rollback that nothing disturbs, and what it did."""
    for _ in range(RECORDINGS):
        async with Scene.set_up(cluster, api, rights, minimum, case=case) as scene:
            tape = await scene.life(None)
            facts = await scene.facts()
        if not tape.refused:
            namespace = scene.cluster.namespace
            writes = writes_of(await cluster.last_audit(namespace), namespace)
            known = Undisturbed(writes, facts.changes)
            end = "given back, frozen, told" if case.beside else "rolled back once"
            assert ending(facts, writes, minimum, known, case=case) == (end, [])
            if case == Case(Action.IMMEDIATE):
                assert known == ONCE[minimum is not None]
            assert len(set(tape.points)) == len(tape.points)
            return [point for point in tape.points if point.what not in BY_TIMING], known
    raise AssertionError("in each recording some request was refused")


def shared(case: Case, minimum: int | None) -> bool:
    """Whether an autoscaler, pinned to the guard's size, may be the quicker one to write it."""
    return case.action is Action.GRADUAL and minimum is not None


def unless_crash(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody is left to ask how the tasks of a dead guard ended."""
    error = context.get("exception")
    if isinstance(error, BaseExceptionGroup):
        error = None if error.split(Crash)[1] is None else error
    elif isinstance(error, Crash | JournalConflict):
        # A conflict is how a dead guard's last append ends when the next one has written.
        error = None
    if error is not None:
        loop.default_exception_handler(context)
