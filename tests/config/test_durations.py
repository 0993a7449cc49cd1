from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.fields.amounts import parse_share, parse_size
from logcaster_guard.fields.durations import parse_duration, show_duration
from logcaster_guard.fields.faults import Refused


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5_400), ("90s", 90), ("250ms", 0.25), ("1d", 86_400), ("1m30s500ms", 90.5), ("0.5s", 0.5)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "suggestion"),
    [
        ("5", '"5s" or "5m"'),
        (5, '"5s" or "5m"'),
        (2.5, '"2.5s" or "2.5m"'),
        ("5 minutes ago", '"5m"'),
        ("10 sec", '"10s"'),
        ("2hours", '"2h"'),
        ("5M", '"5m"'),
        ("0s", None),
        ("0h0m", None),
        ("-5m", None),
        (-5, None),
        ("", None),
        ("m", None),
        ("5m5m", None),
        ("5s1h", None),
        ("1e3s", None),
        ("infs", None),
        ("nan", None),
        ("367d", None),
        ("9" * 400 + "s", None),
        ("five minutes", None),
        ("5m ", '"5m"'),
        ("\N{ARABIC-INDIC DIGIT FIVE}m", None),
        (True, None),
        (None, None),
        ((), None),
    ],
)
def test_anything_else_is_refused_with_what_to_write(value: object, suggestion: str | None) -> None:
    with pytest.raises(Refused) as caught:
        parse_duration(value)
    assert caught.value.suggestion == suggestion
    assert caught.value.found
    assert "duration" in caught.value.allowed


@given(st.text(max_size=40) | st.from_regex(r"(\d{1,12}(\.\d*)?(ms|[dhmsw]))*", fullmatch=True))
def test_a_text_is_a_positive_finite_duration_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except Refused:
        return
    assert 0 < seconds < math.inf


@given(st.integers(1, 366 * 86_400_000))
def test_shown_durations_are_read_back(milliseconds: int) -> None:
    assert parse_duration(show_duration(milliseconds / 1_000)) == pytest.approx(milliseconds / 1_000)


@pytest.mark.parametrize(("text", "share"), [("90%", 0.9), ("0.5%", 0.005), ("100%", 1)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    ("value", "suggestion"),
    [
        (0.9, '"90%"'),
        (90, '"90%"'),
        ("0%", None),
        ("101%", None),
        ("-5%", None),
        ("90", None),
        (None, None),
        (True, None),
    ],
)
def test_refused_shares(value: object, suggestion: str | None) -> None:
    with pytest.raises(Refused) as caught:
        parse_share(value)
    assert caught.value.suggestion == suggestion


@pytest.mark.parametrize(("text", "count"), [("64KiB", 65_536), ("8MiB", 8 << 20), ("1GiB", 1 << 30), ("100B", 100)])
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("value", [5, "5MB", "0B", "2GiB", "-1B", "1.5MiB", None, True, "999999999GiB"])
def test_refused_sizes(value: object) -> None:
    with pytest.raises(Refused):
        parse_size(value)
