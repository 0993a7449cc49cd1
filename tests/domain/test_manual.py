from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import manual
from logcaster_guard.domain.inbox import reading
from logcaster_guard.domain.inbox.annotations import Denied
from logcaster_guard.domain.inbox.commands import ASKABLE, RollBack, Wish, value_of
from logcaster_guard.domain.ledger import Ledger, Record
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import Action, LedgerPolicy
from logcaster_guard.messages.texts import english
from tests.domain.build import at

NOW = at(0)
POLICY = LedgerPolicy()
GOOD = Record("aaaaaaaa1111", "3", "blob", ("web:3",), 3, 3, good_at=NOW)
OLD = Record("aaaaaaaa2222", "1", "blob", ("web:1",), 1, 1)
BAD = Record("cccccccc3333", "4", "blob", ("web:4",), 4, 4, bad_since=9, bad_reason="a rollback left it")
LIVE = Record("dddddddd4444", "5", "blob", ("web:5",), 5, 5)
LEDGER = Ledger(records={r.template: r for r in (GOOD, OLD, BAD, LIVE)}, present=LIVE.template)

REASONS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=50)


WAYS = st.one_of(
    st.tuples(st.sampled_from(ASKABLE), st.just(())),
    st.tuples(st.just(Action.ENV), st.sampled_from([("LOG_LEVEL",), ("A", "b.c/d:e-f"), ("V" * 300,)])),
)


@given(
    WAYS,
    st.sampled_from(["", "7", "abcdef"]),
    st.lists(REASONS.filter(bool), max_size=5).map(" ".join),
)
def test_what_is_written_is_what_is_read(way: tuple[Action, tuple[str, ...]], to: str, reason: str) -> None:
    action, only = way
    request = RollBack("0123456789abcdef", NOW + timedelta(minutes=5), Wish(action, to, only), reason)
    assert reading.rollback(value_of(request), NOW) == request


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0123456789abcdef",
        "0123456789abcdef 2999-01-01T00:00:00Z immediate_rollback -",
        f"0123456789abcdef {at(-60).isoformat()} immediate_rollback -",
        f"0123456789abcdef {at(60).isoformat()} alert_only -",
        f"0123456789abcdef {at(60).isoformat()} immediate_rollback",
        f"0123456789abcdef {at(60).isoformat()} immediate_rollback=LOG_LEVEL -",
        f"0123456789abcdef {at(60).isoformat()} env_rollback= -",
        f"0123456789abcdef {at(60).isoformat()} env_rollback=A,A -",
        f"0123456789abcdef {at(60).isoformat()} env_rollback=A=B -",
        f"0123456789abcdef {at(60).isoformat()} env_rollback={'V' * 301} -",
        "x" * 5_000,
        f"0123456789abcdef {at(60).isoformat()} immediate_rollback - a\nline",
    ],
)
def test_what_is_no_request_is_denied_in_words(value: str) -> None:
    found = reading.rollback(value, NOW)
    assert isinstance(found, Denied)
    assert found.reason


@pytest.mark.parametrize("to", ["3", "aaaaaaaa1"])
def test_a_revision_is_named_by_number_or_by_the_hash_of_its_template(to: str) -> None:
    assert manual.destinations(LEDGER, POLICY, to) == [GOOD]


def test_a_person_may_choose_what_is_unproven_and_the_ledger_only_what_is_good() -> None:
    assert manual.destinations(LEDGER, POLICY, "1") == [OLD]
    assert manual.destinations(LEDGER, POLICY, "") == [GOOD]


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("4", "is bad (a rollback left it)"),
        ("5", "is the present one already"),
        ("9", "is not one that the guard knows; there are 3 (aaaaaaaa) good"),
        ("aaaaaaaa", "is not the only one of that name"),
        ("aaa", "is not one that the guard knows"),
    ],
)
def test_where_nobody_may_go_back_to_is_told(to: str, words: str) -> None:
    found = manual.destinations(LEDGER, POLICY, to)
    assert isinstance(found, Message)
    assert words in english().text(found)


def test_without_any_good_release_a_person_has_to_name_one() -> None:
    ledger = replace(LEDGER, records={r.template: r for r in (OLD, LIVE)})
    found = manual.destinations(ledger, POLICY, "")
    assert isinstance(found, Message)
    assert "name one with --to" in english().text(found)
