"""One cell of each matrix, so that what plays them is known to play; all of them are `make matrix`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cluster.matrix import MATRIX, actions_with_a_way_back
from tests.matrix.boards import BOARDS
from tests.matrix.worker import ground

MATRICES = sorted({b.name.partition(",")[0] for b in BOARDS})

pytestmark = pytest.mark.timeout(120)


def test_the_matrices_are_of_every_strategy() -> None:
    assert actions_with_a_way_back() == {case.action for case in MATRIX}


def test_every_board_has_a_name_of_its_own_that_a_cell_can_be_asked_for_by() -> None:
    names = [b.name for b in BOARDS]
    assert len(set(names)) == len(names)
    assert not [n for n in names if ": " in n]


@pytest.mark.parametrize("matrix", MATRICES)
async def test_one_cell_of_each_matrix_is_played(matrix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = next(b for b in BOARDS if b.name.partition(",")[0] == matrix)
    for module, name, value in board.constants:
        monkeypatch.setattr(module, name, value)
    async with asyncio.timeout(100), ground(None, tmp_path) as where, board.set_up(where) as plays:
        # Not the first: nothing has happened before it.
        result = await plays[list(plays)[len(plays) // 2]]()
    assert (bool(result.end), list(result.faults)) == (True, [])
