"""Which of two things came first, as far as what was seen proves it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.configuration.spans import Span, place_of, share_sequence

PLACES = st.none() | st.integers(0, 9)
SECONDS = st.none() | st.integers(0, 9).map(float)
SPANS = st.builds(Span, PLACES, PLACES, SECONDS, SECONDS)


@pytest.mark.parametrize(
    ("first", "second", "distance", "proven"),
    [
        (Span(by=5), Span(after=5), 0.0, True),
        (Span(by=6), Span(after=5), 0.0, False),
        (Span(by=5), Span(), 0.0, False),
        (Span(), Span(after=5), 0.0, False),
        (Span(by_second=1.0), Span(after_second=2.0), 0.0, True),
        (Span(by_second=2.0), Span(after_second=2.0), 0.0, False),
        (Span(by_second=1.0), Span(after_second=2.0), 1.0, False),
        (Span(by_second=1.0), Span(after_second=2.5), 1.0, True),
        (Span(by=5), Span(after=9), 1.0, False),
        (Span(by=5, by_second=3.0), Span(after=9, after_second=1.0), 0.0, True),
    ],
)
def test_what_came_first_is_proven_by_the_sequence_or_by_the_guards_own_clock(
    first: Span, second: Span, distance: float, *, proven: bool
) -> None:
    assert first.precedes(second, by_seconds=distance) is proven


@given(SPANS, SPANS, SPANS)
def test_what_is_known_besides_takes_no_proof_away(one: Span, other: Span, third: Span) -> None:
    if one.precedes(third):
        assert one.narrowed(other).precedes(third)
    if third.precedes(one):
        assert third.precedes(other.narrowed(one))
    assert one.narrowed(other) == other.narrowed(one)


def test_a_restart_leaves_the_sequence_and_what_has_happened_by_now() -> None:
    assert Span(1, 2, 3.0, 4.0).carried_over(9.0) == Span(1, 2, None, 9.0)
    # Five seconds ago when it was written down, and so no later than that.
    assert Span(1, 2, 3.0, 4.0).carried_over(100.0, recorded=9.0) == Span(1, 2, None, 95.0)
    assert Span(1, 2, 3.0, None).carried_over(100.0, recorded=9.0) == Span(1, 2, None, 100.0)


@pytest.mark.parametrize(("version", "place"), [("17", 17), ("", None), ("x1", None), ("-1", None), ("\u0661", None)])
def test_only_a_number_is_a_place_in_the_sequence(version: str, place: int | None) -> None:
    assert place_of(version) == place


@pytest.mark.parametrize(
    ("lists", "shared"),
    [
        (("10", "10", "10"), True),
        (("10", "12", "13"), True),
        (("10", "4711", "11"), False),
        (("10", "3", "11"), False),
        (("10", "", "11"), False),
    ],
)
def test_kinds_that_are_kept_apart_are_not_compared(lists: tuple[str, str, str], *, shared: bool) -> None:
    assert share_sequence(*lists) is shared
