from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

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
from tests.domain.build import at, template

NOW = at(0)
POLICY = LedgerPolicy()
GOOD = Record("aaaaaaaa1111", "3", "blob", ("web:3",), 3, 3, good_at=NOW)
OLD = Record("aaaaaaaa2222", "1", "blob", ("web:1",), 1, 1)
BAD = Record("cccccccc3333", "4", "blob", ("web:4",), 4, 4, bad_since=9, bad_reason="a rollback left it")
LIVE = Record("dddddddd4444", "5", "blob", ("web:5",), 5, 5)
LEDGER = Ledger(records={r.template: r for r in (GOOD, OLD, BAD, LIVE)}, present=LIVE.template)

REASONS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=50)


@given(
    st.sampled_from(ASKABLE),
    st.sampled_from(["", "7", "abcdef"]),
    st.lists(REASONS.filter(bool), max_size=5).map(" ".join),
)
def test_what_is_written_is_what_is_read(action: Action, to: str, reason: str) -> None:
    request = RollBack("0123456789abcdef", NOW + timedelta(minutes=5), Wish(action, to), reason)
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


def changed(**container: Any) -> dict[str, Any]:
    made = template("v2")
    made["spec"]["containers"][0] |= container
    return made


def test_differences_show_images_and_of_everything_else_only_the_place() -> None:
    before = changed(env=[{"name": "TOKEN", "value": "hunter22"}, {"name": "GONE", "value": "x"}])
    after = changed(image="web:9", env=[{"name": "TOKEN", "value": "hunter33"}, {"name": "NEW", "value": "y"}])
    name = before["spec"]["containers"][0]["name"]
    image = before["spec"]["containers"][0]["image"]
    assert manual.differences(before, after) == [
        f"- spec.containers[{name}].env[GONE].name",
        f"- spec.containers[{name}].env[GONE].value",
        f"+ spec.containers[{name}].env[NEW].name",
        f"+ spec.containers[{name}].env[NEW].value",
        f"~ spec.containers[{name}].env[TOKEN].value",
        f"~ spec.containers[{name}].image: {image} → web:9",
    ]
    assert manual.differences(before, before) == []
