from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.matrix.order import PLACES, CellName, Stretch, digest, from_commit, wanted

NAMES = st.sets(
    st.builds(CellName, st.text("abc, ", min_size=1, max_size=8), st.text("xyz: ", max_size=12)), max_size=60
)
STRETCHES = st.builds(Stretch, st.integers(0, PLACES - 1), st.integers(0, PLACES))


@given(names=NAMES, stretch=STRETCHES)
def test_a_stretch_and_what_follows_it_around_the_end_are_all_cells_and_none_twice(
    names: set[CellName], stretch: Stretch
) -> None:
    rest = Stretch((stretch.offset + stretch.count) % PLACES, PLACES - stretch.count)
    parts = [*stretch.of(names), *rest.of(names)]
    assert sorted(parts) == sorted(names)


@given(names=NAMES, more=NAMES, stretch=STRETCHES)
def test_a_stretch_holds_the_same_cells_in_the_same_order_whatever_else_there_is(
    names: set[CellName], more: set[CellName], stretch: Stretch
) -> None:
    assert [n for n in stretch.of(names | more) if n in names] == list(stretch.of(names))


def test_the_whole_order_mixes_the_boards() -> None:
    names = [CellName(board, str(n)) for board in ("crash", "lease", "partition") for n in range(100)]
    half = Stretch(0, PLACES // 2).of(names)
    assert {board: sum(n.board == board for n in half) > 25 for board in ("crash", "lease", "partition")} == {
        "crash": True,
        "lease": True,
        "partition": True,
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1200:50", Stretch(1200, 50)),
        ("10003:1", Stretch(3, 1)),
        ("0:99999", Stretch(0, PLACES)),
        ("crash, immediate_rollback: before a: b", CellName("crash, immediate_rollback", "before a: b")),
    ],
)
def test_what_is_asked_for_is_a_stretch_or_the_name_of_a_cell(text: str, found: Stretch | CellName) -> None:
    assert wanted(text) == found
    assert wanted(str(found)) == found


def test_anything_else_is_refused_with_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"write offset:count, as in 1200:50, or a cell's name"):
        wanted("crash")


def test_the_offset_follows_from_the_commit() -> None:
    assert from_commit("ff") == Stretch(255)
    assert from_commit("") == Stretch(0)
    assert from_commit("f" * 40).offset < PLACES


def test_a_set_of_cells_is_told_from_another() -> None:
    first, second = CellName("a", "x"), CellName("a", "y")
    assert digest([first, second]) == digest([second, first]) != digest([first])
