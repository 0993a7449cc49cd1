"""The guard dies at every point of a rollback, and another one takes over."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial

from logcaster_guard.domain.errors import Conflict, NotFound, Rejected
from tests.cluster.case import Case
from tests.cluster.crashes import Cell, Moment, Tape, cells, late_cells
from tests.cluster.ending import ending, writes_of
from tests.cluster.matrix import ROWS, shared
from tests.cluster.scene import Scene
from tests.matrix.board import Board, Ground, Play, Result, Setting, named

CREATES = ("create Deployment", "create ConfigMap", "create Secret")
"""What may be made too late."""


def board(case: Case, minimum: int | None) -> Board:
    """Every crash of one case."""

    @contextlib.asynccontextmanager
    async def set_up(ground: Ground) -> AsyncIterator[Mapping[str, Play]]:
        points, known = await ground.record(case, minimum)
        setting = Setting(ground, case, minimum, known)
        yield {str(cell): partial(_played, setting, cell) for cell in [*cells(points), *late_cells(points)]}

    return Board(named("crash", case, minimum), set_up)


BOARDS = tuple(board(case, minimum) for case, minimum in ROWS)


async def _played(setting: Setting, cell: Cell) -> Result:
    ground, case, minimum = setting.ground, setting.case, setting.minimum
    faults = []
    async with Scene.set_up(ground.cluster, ground.api, ground.rights, minimum, case=case) as scene:
        namespace = scene.cluster.namespace
        tape = await scene.life(cell)
        if not tape.dead.is_set() and not shared(case, minimum):
            faults.append("the point was not reached")
        await scene.life(None)
        if cell.moment is Moment.LATE and tape.dead.is_set() and await _arrives(tape):
            # What may still be created is cleared away by whoever guards then.
            if cell.point.what not in CREATES:
                faults.append("a request of the dead guard took effect")
            await scene.swept()
        facts = await scene.facts()
    writes = writes_of(await ground.cluster.last_audit(namespace), namespace)
    either = shared(case, minimum) or _cleared_away(cell)
    end, wrong = ending(facts, writes, minimum, setting.known, case=case, shared=either)
    return Result(end, [*wrong, *faults])


def _cleared_away(cell: Cell) -> bool:
    """Whether something was created too late, and deleted: two writes more."""
    return cell.moment is Moment.LATE and cell.point.what in CREATES


async def _arrives(tape: Tape) -> bool:
    """Whether what the dead guard had sent is taken now."""
    assert tape.unsent is not None
    try:
        await tape.unsent()
    except (Conflict, NotFound):
        return False
    except Rejected as error:
        # A JSON Patch of keys that are gone by now.
        if error.status != 422:
            raise
        return False
    return True
