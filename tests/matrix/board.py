"""What a matrix is to whoever plays it: boards of cells, each cell played and judged by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import ModuleType

from logcaster_guard.domain import runs
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from tests.cluster.case import Case
from tests.cluster.crashes import Point
from tests.cluster.ending import Undisturbed
from tests.cluster.harness import Cluster
from tests.cluster.matrix import record

AT_ONCE = 12
"""Cells that are played at once in a process: none of them needs a core for itself."""


Record = tuple[Sequence[Point], Undisturbed]


@dataclass(frozen=True, slots=True)
class Ground:
    """What boards are played on: an API server, the guard's own adapter to it, and the rights of the shipped Role."""

    cluster: Cluster
    api: ClusterPort
    rights: Sequence[Json]
    _records: dict[tuple[Case, int | None], asyncio.Task[Record]] = field(default_factory=dict)

    async def record(self, case: Case, minimum: int | None) -> Record:
        """The points of an undisturbed rollback and what it did; recorded once for all boards."""
        key = (case, minimum)
        if key not in self._records:
            self._records[key] = asyncio.create_task(record(self.cluster, self.api, self.rights, case, minimum))
        return await self._records[key]


NEVER = "never happened"
"""How a cell ends whose point the rollback passes by this time; a run in which many do is a failed one."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a cell ended, and everything that is wrong with that."""

    end: str
    faults: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What every cell of a board is played in; `known` is what the undisturbed rollback did."""

    ground: Ground
    case: Case
    minimum: int | None
    known: Undisturbed


Play = Callable[[], Awaitable[Result]]
"""Plays one cell. An exception is a cell that never ended."""

Constant = tuple[ModuleType, str, object]
QUICK: Constant = (runs, "POLL", 0.05)
"""A run looks again at once."""


@dataclass(frozen=True, slots=True)
class Board:
    """One case of one matrix.

    `set_up` records the undisturbed rollback and tells how to play each cell, by its name. `constants` are those of the
    product that have other values meanwhile. `at_once` bounds how many of its cells are played at once.
    """

    name: str
    set_up: Callable[[Ground], AbstractAsyncContextManager[Mapping[str, Play]]]
    constants: tuple[Constant, ...] = (QUICK,)
    at_once: int = AT_ONCE


def named(matrix: str, case: Case, minimum: int | None = None) -> str:
    """The name of a board."""
    return f"{matrix}, {case}{'' if minimum is None else ', autoscaled'}"
