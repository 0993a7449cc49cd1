"""What every matrix is made of: the cases, the points of an undisturbed rollback, and what it does."""

from __future__ import annotations

import asyncio
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from logcaster_guard import strategies
from logcaster_guard.domain.gitops import OwnerKind
from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from tests.cluster.case import Case
from tests.cluster.crashes import Crash, Point
from tests.cluster.ending import Undisturbed, ending, writes_of
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene

T = TypeVar("T")
SHARE = "LOGCASTER_GUARD_MATRIX"
"""What is played: `full` every cell, `strategies` every cell of each strategy and a share of its further cases.

Else it is a share of everything but the plain immediate rollback, and a number is that share's offset, 0 by default.
"""
FULL, STRATEGIES_WHOLE = "full", "strategies"
STRATEGIES = Path(strategies.__file__).parent
RECORDINGS = 3
SANDBOX, REAL = 24, 3
"""Cells played of a case, unless all are asked for."""
MATRIX = (
    Case(Action.IMMEDIATE),
    Case(Action.IMMEDIATE, in_cluster=True),
    Case(Action.GRADUAL),
    Case(Action.GRADUAL, beside=0.5),
    Case(Action.ALERT_THEN),
    Case(Action.BLUE_GREEN),
    Case(Action.BLUE_GREEN, beside=0.5),
    Case(Action.BLUE_GREEN, missing=True),
    Case(Action.IMMEDIATE, owner=OwnerKind.KUSTOMIZATION),
)
"""Every action that changes something in this version; once with a good release that is none."""

ONCE = {
    False: Undisturbed(Counter(deployments=1, events=3), 1),
    True: Undisturbed(Counter(deployments=1, events=3, horizontalpodautoscalers=2), 1),
}
"""What an immediate rollback does, without and with an autoscaler."""


@dataclass(frozen=True)
class Share(Generic[T]):
    """The cells that are played, and in words which those are."""

    played: Sequence[T]
    words: str


def share(cells: Sequence[T], most: int | None, *, row: int) -> Share[T]:
    """Every k-th of the cells, so that about `most` are played (None: all), as the environment asks for it.

    `row` is how many cells belong to one point: k shares no factor with it, so that every column comes up.
    """
    wanted = os.environ.get(SHARE, "0")
    if wanted == FULL or most is None or len(cells) <= most:
        return Share(cells, f"all {len(cells)} cells")
    every = math.ceil(len(cells) / most)
    while math.gcd(every, row) > 1:
        every += 1
    offset = 0 if wanted == STRATEGIES_WHOLE else int(wanted) % every
    played = cells[offset::every]
    return Share(played, f"{len(played)} of {len(cells)} cells, every {every}th from {offset} on ({SHARE})")


def strategies_whole() -> bool:
    """Whether all of each strategy is asked for, though not all of its further cases."""
    return os.environ.get(SHARE) == STRATEGIES_WHOLE


def part_of(cells: Sequence[T], cluster: Cluster, case: Case, minimum: int | None, *, row: int) -> Share[T]:
    """The share of a matrix that is played here; a real control plane gets most of the plain immediate rollback."""
    first = case == Case(Action.IMMEDIATE) and minimum is None
    if cluster.kind == "sandbox":
        whole = case == Case(case.action) if strategies_whole() else first
        return share(cells, None if whole else SANDBOX, row=row)
    return share(cells, REAL * 10 if first else REAL, row=row)


def actions_with_a_strategy() -> set[str]:
    """The actions that change something, by the modules of the strategies."""
    return {f"{p.stem}_rollback" for p in STRATEGIES.glob("[a-z]*.py")} - {"unfit_rollback"}


async def record(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case, minimum: int | None
) -> tuple[Sequence[Point], Undisturbed]:
    """The points of a rollback that nothing disturbs, and what it did."""
    for _ in range(RECORDINGS):
        async with Scene.set_up(cluster, api, rights, minimum, case=case) as scene:
            tape = await scene.life(None)
            facts = await scene.facts()
        if not tape.refused:
            writes = writes_of(await cluster.read_audit(), scene.cluster.namespace)
            known = Undisturbed(writes, facts.changes)
            end = "given back, frozen, told" if case.beside else "rolled back once"
            assert ending(facts, writes, minimum, known, case=case) == (end, [])
            if case == Case(Action.IMMEDIATE):
                assert known == ONCE[minimum is not None]
            assert len(set(tape.points)) == len(tape.points)
            return tape.points, known
    pytest.fail("in each recording some request was refused")


def shared(case: Case, minimum: int | None) -> bool:
    """Whether an autoscaler, pinned to the guard's size, may be the quicker one to write it."""
    return case.action is Action.GRADUAL and minimum is not None


def unless_crash(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody is left to ask how the tasks of a dead guard ended."""
    error = context.get("exception")
    if isinstance(error, BaseExceptionGroup):
        error = None if error.split(Crash)[1] is None else error
    elif isinstance(error, Crash):
        error = None
    if error is not None:
        loop.default_exception_handler(context)
