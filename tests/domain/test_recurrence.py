from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.recurrence import FIRST, OVER, Recurrences


def told(causes: list[str], *, every: float = 1.0) -> list[tuple[float, str, int]]:
    """When each cause is told, if they come one after the other, `every` seconds apart."""
    recurrences, found = Recurrences(), []
    for number, cause in enumerate(causes):
        times = recurrences.due("subject", cause, every * number)
        if times is not None:
            found.append((every * number, cause, times))
    return found


def test_what_goes_on_is_told_at_once_and_then_at_growing_intervals() -> None:
    lines = told(["away"] * 1_000)
    assert lines == [
        (0.0, "away", 1),
        (60.0, "away", 60),
        (180.0, "away", 120),
        (420.0, "away", 240),
        (900.0, "away", 480),
    ]


def test_a_change_of_cause_is_told_at_once_and_to_and_fro_is_none() -> None:
    assert told(["away", "away", "denied", "away", "denied"]) == [(0.0, "away", 1), (2.0, "denied", 1)]


def test_numbers_make_no_other_cause() -> None:
    assert told([f"no answer after {n} ms" for n in range(50)]) == [(0.0, "no answer after 0 ms", 1)]


def test_what_was_over_for_long_is_news() -> None:
    recurrences = Recurrences()
    assert [recurrences.due("s", "away", at) for at in (0.0, 30.0, 30.0 + OVER + 1)] == [1, None, 1]


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=200), st.floats(0.1, 500.0))
def test_every_cause_is_told_and_none_more_than_once_a_minute(causes: list[str], every: float) -> None:
    lines = told(causes, every=every)
    assert {cause for _, cause, _ in lines} == set(causes)
    for cause in set(causes):
        assert all(b - a >= FIRST for a, b in pairwise([at for at, told, _ in lines if told == cause]))


def test_a_thousand_causes_are_remembered_at_most() -> None:
    recurrences = Recurrences()
    for number in range(5_000):
        recurrences.due("x" * (number % 4_000), "away", 0.0)
    assert len(recurrences._going) <= 1_000
