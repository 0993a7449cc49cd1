"""What a run of the matrices tells: offset, how many cells, how each board's ended, and how to repeat a failure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.matrix.board import NEVER
from tests.matrix.order import CellName, Stretch
from tests.matrix.players import Told

MOST_NEVER = 0.05
"""The share of cells that may pass their point by."""


@dataclass(frozen=True)
class Summary:
    """How cells ended: `told` at first, `again` those that failed, played once more alone.

    `unset` are the boards that could not be set up, and why.
    """

    told: Sequence[Told]
    again: Mapping[CellName, Told]
    unset: Mapping[str, str]

    @property
    def failed(self) -> Sequence[Told]:
        """The cells that failed, and failed again alone."""
        return [t for t in self.told if t.faults and self.again[t.name].faults]

    @property
    def passed_by(self) -> int:
        """How many cells never happened."""
        return sum(t.end == NEVER for t in self.told)

    @property
    def faults(self) -> int:
        """What is wrong, in numbers."""
        allowed = max(2.0, MOST_NEVER * len(self.told))
        return len(self.failed) + len(self.unset) + (self.passed_by > allowed)

    def text(self, played: Stretch | CellName, cpu: float, seconds: float) -> str:
        """For people."""
        per_cell = f", {cpu / len(self.told):.2f} s a cell" if self.told else ""
        repeat = f"MATRIX={shlex.quote(str(played))}"
        lines = [
            *self._boards(),
            *(f"cannot be set up: {board}: {why}" for board, why in self.unset.items()),
            *(line for t in self.told if t.faults for line in _failure(t, self.again[t.name])),
            f"{len(self.told)} cells played, {self.passed_by} never happened",
            f"{seconds:.0f} s, CPU {cpu:.0f} s{per_cell}",
            f"repeat: make matrix {repeat}",
            f"matrix: {len(self.told) - len(self.failed)} passed, {self.faults} failed",
        ]
        return "\n".join(lines)

    def _boards(self) -> Sequence[str]:
        ends: dict[str, Counter[str]] = {}
        for one in self.told:
            ends.setdefault(one.name.board, Counter())[one.end] += 1
        return [
            f"{board}: {count.total()} cells, " + ", ".join(f"{n} {end}" for end, n in sorted(count.items()))
            for board, count in sorted(ends.items())
        ]


def _failure(first: Told, second: Told) -> Sequence[str]:
    verdict = "FAILED" if second.faults else "failed once, and not when it was played again alone"
    return [
        f"{verdict}: {first.name} ({first.end}, {first.seconds} s)",
        *(f"    {fault}" for fault in first.faults),
        *(f"    again: {fault}" for fault in second.faults),
        f"    repeat: make matrix MATRIX={shlex.quote(str(first.name))}",
    ]
