"""The order in which all cells of all matrices are played, and the share of it that one run plays.

Each cell has a place that follows from its name alone, so that any stretch of places is a sample of all matrices and
cases, and holds the same cells whatever else there is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PLACES = 10_000
_STRETCH = re.compile(r"(\d{1,9}):(\d{1,9})", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class CellName:
    """One cell: the board that it belongs to, and its own name there."""

    board: str
    cell: str

    def __str__(self) -> str:
        return f"{self.board}: {self.cell}"

    @property
    def place(self) -> int:
        """Where it stands in the order, from 0 to below `PLACES`; others may stand there too."""
        return int.from_bytes(self._digest[:8]) % PLACES

    @property
    def _digest(self) -> bytes:
        return hashlib.sha256(str(self).encode()).digest()


@dataclass(frozen=True, slots=True)
class Stretch:
    """`count` places from `offset` on, around the end."""

    offset: int = 0
    count: int = PLACES

    def __str__(self) -> str:
        return f"{self.offset}:{self.count}"

    def distance(self, name: CellName) -> int:
        """How many places from the offset on a cell stands."""
        return (name.place - self.offset) % PLACES

    def of(self, names: Iterable[CellName]) -> Sequence[CellName]:
        """The cells of the stretch, in order."""
        return sorted((n for n in names if self.distance(n) < self.count), key=lambda n: (self.distance(n), n))


def digest(names: Iterable[CellName]) -> str:
    """Tells one set of cells from another."""
    return hashlib.sha256("\n".join(map(str, sorted(names))).encode()).hexdigest()[:12]


def from_commit(commit: str) -> Stretch:
    """Where a commit's share begins: the commits of a branch go through all of the order."""
    return Stretch(int(commit, 16) % PLACES if commit else 0)


def wanted(text: str) -> Stretch | CellName:
    """What `MATRIX` asks for: `offset:count`, or the name of one cell. Raises `ValueError`."""
    if found := _STRETCH.fullmatch(text.strip()):
        return Stretch(int(found[1]) % PLACES, min(int(found[2]), PLACES))
    board, separator, cell = text.strip().partition(": ")
    if not separator:
        raise ValueError(f"MATRIX is {text!r}: write offset:count, as in 1200:50, or a cell's name as a run prints it")
    return CellName(board, cell)
