"""Somebody acts on what the guard touches, at every point of a rollback: people win."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial

from tests.cluster.case import Case
from tests.cluster.interference import Disturbance, DisturbedScene, acts, judged
from tests.cluster.matrix import ROWS, shared
from tests.matrix.board import NEVER, Board, Ground, Play, Result, Setting, named


def board(case: Case, minimum: int | None) -> Board:
    """Every act at every point of one case."""

    @contextlib.asynccontextmanager
    async def set_up(ground: Ground) -> AsyncIterator[Mapping[str, Play]]:
        points, known = await ground.record(case, minimum)
        setting = Setting(ground, case, minimum, known)
        cells = [Disturbance(point, act) for point in points for act in acts(case)]
        yield {str(cell): partial(_played, setting, cell) for cell in cells}

    return Board(named("interference", case, minimum), set_up)


BOARDS = tuple(board(case, minimum) for case, minimum in ROWS)


async def _played(setting: Setting, cell: Disturbance) -> Result:
    """One guard lives through the rollback, and somebody acts as the cell says."""
    ground, case, minimum = setting.ground, setting.case, setting.minimum
    async with DisturbedScene.set_up(ground.cluster, ground.api, ground.rights, minimum, case=case) as scene:
        tape, left = await scene.disturbed(cell)
    if tape.began is None and shared(case, minimum):
        return Result(NEVER)
    return Result(*judged(cell, case, minimum, tape, left))
