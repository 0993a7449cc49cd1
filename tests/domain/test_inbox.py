"""The inbox: what counts as a freeze, how long an answer holds, and what was processed before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.inbox import freezes
from logcaster_guard.domain.inbox.annotations import APPROVE, FREEZE, MAX_LENGTH, VETO, unprocessed
from logcaster_guard.domain.inbox.commands import RunCommand, expiry_of_answer
from logcaster_guard.domain.inbox.freezes import FreezeChange, Seen, change
from logcaster_guard.domain.workload import Workload
from tests.domain.build import START

A, B = "spec A", "spec B"


@pytest.mark.parametrize(
    ("before", "now", "frozen", "expected"),
    [
        (None, Seen(None, A), False, FreezeChange.NOTHING),
        (None, Seen("move", A), False, FreezeChange.FREEZE),
        (Seen(None, A), Seen("move", A), False, FreezeChange.FREEZE),
        (Seen(None, A), Seen("move", B), False, FreezeChange.FREEZE),
        (Seen("move", A), Seen("move", A), True, FreezeChange.FREEZE),
        (Seen("move", A), Seen("another move", B), True, FreezeChange.FREEZE),
        (Seen("move", A), Seen("", A), True, FreezeChange.FREEZE),
        # Lifted by removal alone.
        (Seen("move", A), Seen(None, A), True, FreezeChange.LIFT),
        (Seen("move", A), Seen(None, B), True, FreezeChange.OVERWRITTEN),
        (Seen(None, B), Seen(None, B), True, FreezeChange.OVERWRITTEN),
        (None, Seen(None, A), True, FreezeChange.OVERWRITTEN),
        # Lifted by a new value that begins with false.
        (Seen("move", A), Seen("false", A), True, FreezeChange.LIFT),
        (Seen("move", A), Seen(" False: over", A), True, FreezeChange.LIFT),
        (Seen(None, B), Seen("false", B), True, FreezeChange.LIFT),
        (Seen("false: over", A), Seen("false: again", A), True, FreezeChange.LIFT),
        (Seen("false", A), Seen("false", A), True, FreezeChange.NOTHING),
        (Seen("false", A), Seen("false", A), False, FreezeChange.NOTHING),
        (None, Seen("false", A), False, FreezeChange.NOTHING),
        # The guard's own freeze is lifted in the same way, and not by taking away what is not there.
        (Seen(None, A), Seen("false", A), False, FreezeChange.LIFT),
        (Seen("false", A), Seen(None, A), False, FreezeChange.NOTHING),
        # An undo brings the annotations of an older ReplicaSet back: an old false among them lifts nothing.
        (Seen("move", A), Seen("false: long ago", B), True, FreezeChange.OVERWRITTEN),
        (Seen("false: long ago", B), Seen("false: long ago", B), True, FreezeChange.NOTHING),
        (Seen("false: long ago", B), Seen("false: now", B), True, FreezeChange.LIFT),
    ],
)
def test_what_the_annotation_says(before: Seen | None, now: Seen, expected: FreezeChange, *, frozen: bool) -> None:
    assert change(before, now, frozen_by_annotation=frozen) is expected


def test_an_annotation_that_is_kept_is_bounded() -> None:
    longest = "x" * MAX_LENGTH
    assert freezes.text_on({FREEZE: f" {longest} "}) == longest
    one, other = (freezes.text_on({FREEZE: longest + end}) for end in "ab")
    assert one is not None
    assert one.startswith(f"{longest}… (1025 characters")
    assert one != other


VALUES = st.none() | st.sampled_from(["move", "false", "false: over", ""])


@given(st.none() | st.builds(Seen, VALUES, st.just(A)), VALUES, st.booleans())
def test_whatever_comes_with_a_change_of_the_spec_lifts_nothing(
    before: Seen | None, value: str | None, frozen: bool
) -> None:
    assert change(before, Seen(value, B), frozen_by_annotation=frozen) is not FreezeChange.LIFT


def test_an_empty_annotation_freezes_and_a_missing_one_does_not() -> None:
    assert (freezes.freeze_on({FREEZE: ""}), freezes.freeze_on({})) == ("", None)


@pytest.mark.parametrize(
    ("command", "asked", "holds"),
    [
        (RunCommand.APPROVE, None, 600.0),
        (RunCommand.VETO, None, 600.0),
        (RunCommand.VETO, 3_600.0, 3_600.0),
        (RunCommand.APPROVE, 200_000.0, 86_400.0),  # no answer holds for more than a day
        (RunCommand.ABANDON, 3_600.0, 600.0),  # no question asks for it
    ],
)
def test_an_answer_holds_as_long_as_its_question_and_no_longer_than_one_may(
    command: RunCommand, asked: float | None, holds: float
) -> None:
    until = None if asked is None else START + timedelta(seconds=asked)
    assert expiry_of_answer(command, until, START) == START + timedelta(seconds=holds)


def test_an_annotation_is_a_message_until_it_is_known_and_again_on_another_object() -> None:
    found = unprocessed(carrying("u", "said"), VETO, lambda _: False)
    assert found is not None
    assert (found.annotation, found.value) == (VETO, "said")
    assert unprocessed(carrying("u", "said"), VETO, lambda digest: digest == found.digest) is None
    for again in (carrying("v", "said"), carrying("u", "said anew")):
        assert unprocessed(again, VETO, lambda digest: digest == found.digest) is not None
    assert unprocessed(carrying("u", "said"), APPROVE, lambda _: False) is None


def carrying(uid: str, value: str) -> Workload:
    return Workload({"metadata": {"uid": uid, "annotations": {VETO: value}}})
