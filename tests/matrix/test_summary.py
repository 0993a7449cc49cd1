from __future__ import annotations

from tests.matrix.board import NEVER
from tests.matrix.order import CellName, Stretch
from tests.matrix.players import Told
from tests.matrix.summary import Summary

WELL = Told(CellName("crash, x", "before a"), "rolled back once", [], 0.3)
BAD = Told(CellName("crash, x", "before it's b"), "abandoned", ["frozen"], 0.4)


def test_what_failed_twice_fails_with_the_command_that_repeats_it() -> None:
    summary = Summary([WELL, BAD], {BAD.name: BAD}, {})
    text = summary.text(Stretch(3, 8), cpu=2.0, seconds=5.0)
    assert summary.faults == 1
    assert "FAILED: crash, x: before it's b (abandoned, 0.4 s)" in text
    assert """repeat: make matrix MATRIX='crash, x: before it'"'"'s b'""" in text
    assert "2 cells played, 0 never happened\n5 s, CPU 2 s, 1.00 s a cell\n" in text
    assert "repeat: make matrix MATRIX=3:8" in text
    assert text.endswith("matrix: 1 passed, 1 failed")


def test_what_failed_only_beside_others_is_told_and_is_no_failure() -> None:
    summary = Summary([BAD], {BAD.name: Told(BAD.name, "rolled back once", [], 0.3)}, {})
    assert summary.faults == 0
    assert "failed once, and not when it was played again alone: crash, x: before it's b" in summary.text(
        Stretch(), 1.0, 1.0
    )


def test_a_board_that_cannot_be_set_up_is_a_failure() -> None:
    summary = Summary([WELL], {}, {"crash, y": "AssertionError: no"})
    assert summary.faults == 1
    assert "cannot be set up: crash, y: AssertionError: no" in summary.text(Stretch(), 1.0, 1.0)


def test_a_few_cells_may_pass_their_point_by_and_many_may_not() -> None:
    def passed_by(count: int) -> Summary:
        never = [Told(CellName("api faults, x", str(n)), NEVER, [], 0.1) for n in range(count)]
        well = [Told(CellName("api faults, x", f"well {n}"), "rolled back once", [], 0.1) for n in range(100 - count)]
        return Summary([*never, *well], {}, {})

    assert passed_by(5).faults == 0
    assert passed_by(6).faults == 1
