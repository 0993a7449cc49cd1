from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import inbox
from logcaster_guard.domain.inbox import Freezing, Frozen, Seen, Wish, wish
from tests.domain.build import START

A, B = "spec A", "spec B"


@pytest.mark.parametrize(
    ("before", "now", "frozen", "expected"),
    [
        (None, Seen(None, A), False, Wish.NOTHING),
        (None, Seen("move", A), False, Wish.FREEZE),
        (Seen(None, A), Seen("move", A), False, Wish.FREEZE),
        (Seen(None, A), Seen("move", B), False, Wish.FREEZE),
        (Seen("move", A), Seen("move", A), True, Wish.FREEZE),
        (Seen("move", A), Seen("another move", B), True, Wish.FREEZE),
        (Seen("move", A), Seen("", A), True, Wish.FREEZE),
        # Lifted by removal alone.
        (Seen("move", A), Seen(None, A), True, Wish.THAW),
        (Seen("move", A), Seen(None, B), True, Wish.WIPED),
        (Seen(None, B), Seen(None, B), True, Wish.WIPED),
        (None, Seen(None, A), True, Wish.WIPED),
        # Lifted by a new value that begins with false.
        (Seen("move", A), Seen("false", A), True, Wish.THAW),
        (Seen("move", A), Seen(" False: over", A), True, Wish.THAW),
        (Seen(None, B), Seen("false", B), True, Wish.THAW),
        (Seen("false: over", A), Seen("false: again", A), True, Wish.THAW),
        (Seen("false", A), Seen("false", A), True, Wish.NOTHING),
        (Seen("false", A), Seen("false", A), False, Wish.NOTHING),
        (None, Seen("false", A), False, Wish.NOTHING),
        # The guard's own freeze is lifted in the same way, and not by taking away what is not there.
        (Seen(None, A), Seen("false", A), False, Wish.THAW),
        (Seen("false", A), Seen(None, A), False, Wish.NOTHING),
        # An undo brings the annotations of an older ReplicaSet back: an old false among them lifts nothing.
        (Seen("move", A), Seen("false: long ago", B), True, Wish.WIPED),
        (Seen("false: long ago", B), Seen("false: long ago", B), True, Wish.NOTHING),
        (Seen("false: long ago", B), Seen("false: now", B), True, Wish.THAW),
    ],
)
def test_what_the_annotation_says(before: Seen | None, now: Seen, expected: Wish, *, frozen: bool) -> None:
    assert wish(before, now, frozen_by_annotation=frozen) is expected


def test_an_annotation_that_is_kept_is_bounded() -> None:
    longest = "x" * inbox.MAX_ANSWER
    assert inbox.freeze_of({inbox.FREEZE: f" {longest} "}) == longest
    one, other = (inbox.freeze_of({inbox.FREEZE: longest + end}) for end in "ab")
    assert one is not None
    assert one.startswith(f"{longest}… (1025 characters")
    assert one != other


VALUES = st.none() | st.sampled_from(["move", "false", "false: over", ""])


@given(st.none() | st.builds(Seen, VALUES, st.just(A)), VALUES, st.booleans())
def test_whatever_comes_with_a_change_of_the_spec_lifts_nothing(
    before: Seen | None, value: str | None, frozen: bool
) -> None:
    assert wish(before, Seen(value, B), frozen_by_annotation=frozen) is not Wish.THAW


@pytest.mark.parametrize(
    ("word", "frozen", "written"),
    [
        (Freezing.FREEZE, Frozen(None, None), True),
        (Freezing.UNFREEZE, Frozen(None, None), False),
        (Freezing.UNFREEZE, Frozen("move", "annotation"), True),
        (Freezing.UNFREEZE, Frozen(None, "guard"), True),
        (Freezing.RESUME, Frozen(None, "guard"), True),
        (Freezing.RESUME, Frozen("move", "guard"), False),
        (Freezing.RESUME, Frozen(None, "annotation"), False),
        (Freezing.RESUME, Frozen("false: over", "guard"), True),
    ],
)
def test_a_persons_freeze_is_lifted_by_unfreeze_alone(word: Freezing, frozen: Frozen, written: bool) -> None:
    assert isinstance(inbox.freezing(word, frozen, "why", START), str) is written


def test_what_an_annotation_is_remembered_by_is_of_the_object_the_name_and_the_value() -> None:
    said = ("u", inbox.VETO, "text")
    assert inbox.digest(*said) == inbox.digest(*said)
    others = [("v", inbox.VETO, "text"), ("u", inbox.APPROVE, "text"), ("u", inbox.VETO, "another")]
    assert len({inbox.digest(*one) for one in (said, *others)}) == 4
    assert len(inbox.digest("u", inbox.VETO, "\ud800")) == 16
