"""Every board of every matrix."""

from __future__ import annotations

from tests.matrix import api_faults, crash, interference, lease, partition
from tests.matrix.board import Board

BOARDS: tuple[Board, ...] = (
    *crash.BOARDS,
    *interference.BOARDS,
    *api_faults.BOARDS,
    *partition.BOARDS,
    *lease.BOARDS,
)
