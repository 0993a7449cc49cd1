from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.adapters.skew import ClockSkew

NOW = 1_700_000_000.0


def answered(skew: ClockSkew, offset: float, sent: float, *, took: float = 0.1) -> None:
    """An answer of a server whose clock is `offset` ahead, made half-way."""
    skew.note({"Date": formatdate(sent + took / 2 + offset, usegmt=True)}, sent, sent + took)


@given(
    offset=st.floats(-90_000.0, 90_000.0),
    sent=st.lists(st.floats(NOW, NOW + 100_000.0), min_size=1, max_size=20),
    took=st.floats(0.0, 10.0),
)
def test_the_offset_is_never_outside_of_what_the_answers_tell(offset: float, sent: list[float], took: float) -> None:
    skew = ClockSkew()
    for at in sorted(sent):
        answered(skew, offset, at, took=took)
    assert skew.low - 1e-3 <= offset <= skew.high + 1e-3
    assert skew.high - skew.low <= 1.0 + took + 1e-3
    assert skew.ahead == 0.0 or skew.ahead >= offset - 1e-3


@pytest.mark.parametrize("offset", [8.0, 30.0, -8.0])
def test_a_difference_is_measured_to_the_second(offset: float) -> None:
    skew = ClockSkew()
    for n in range(50):
        answered(skew, offset, NOW + 1.37 * n)
    assert offset <= skew.ahead <= offset + 0.2


def test_a_clock_that_is_set_is_followed_and_clocks_that_agree_differ_by_nothing() -> None:
    skew = ClockSkew()
    for n in range(20):
        answered(skew, 0.0, NOW + 0.37 * n)
    assert skew.ahead == 0.0
    answered(skew, 30.0, NOW + 10.0)
    assert skew.ahead == pytest.approx(30.0, abs=1.2)
    answered(skew, 0.0, NOW + 11.0)
    assert skew.ahead == 0.0


@pytest.mark.parametrize("header", [{}, {"Date": "yesterday"}, {"Date": ""}])
def test_an_answer_without_a_date_tells_nothing(header: dict[str, str]) -> None:
    skew = ClockSkew()
    skew.note(header, NOW, NOW)
    assert skew.ahead == 0.0
