"""The ledger where releases of one template differ in their configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import ledger_events
from logcaster_guard.domain.events import (
    Event,
    PodsReplaced,
    RevisionBad,
    RevisionConfigured,
    RevisionGood,
    RevisionLive,
    RevisionMarked,
    RevisionNumbered,
    RunAnswered,
    RunOpened,
)
from logcaster_guard.domain.inbox import reading
from logcaster_guard.domain.inbox.annotations import Denied
from logcaster_guard.domain.inbox.commands import Mark, MarkRelease, RunCommand, value_of
from logcaster_guard.domain.ledger import Ledger, ReleaseStatus
from logcaster_guard.domain.ledger_events import fold
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.steps import Plan
from tests.domain.build import UID, at

POLICY = LedgerPolicy()


def live(
    template: str, configuration: str = "", seconds: float = 0.0, *, undo_of: str | None = None, by: str | None = None
) -> RevisionLive:
    return RevisionLive(
        at(seconds), template, "7", UID, f"blob {template}", (template,), earliest=at(seconds), undo_of=undo_of,
        by_guard=by, configuration=configuration,
    )  # fmt: skip


def known(template: str, configuration: str, readable: str = "") -> RevisionConfigured:
    held = {"ConfigMap default/c": f"held {configuration}"}
    return RevisionConfigured(at(5), template, "", held, readable, configuration=configuration)


def good(template: str, configuration: str = "") -> RevisionGood:
    return RevisionGood(at(6), template, 1.0, 600.0, configuration=configuration)


def bad(template: str, configuration: str = "") -> RevisionBad:
    return RevisionBad(at(7), template, "why", configuration=configuration)


WELL: list[Event] = [live("t"), known("t", "1"), good("t", "1")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*WELL, live("t", "2", 9)], "t+1"),  # an edit that pods have read
        ([*WELL, live("t", "2", 9), live("u", "", 10)], "t+1"),
        ([*WELL, live("t", "2", 9), good("t", "2"), live("u", "", 10)], "t+2"),
        ([*WELL, live("u", "", 9), known("u", "2")], "t+1"),
        ([*WELL, live("t", "2", 9), bad("t", "2"), live("t", "1", 10), live("t", "3", 11)], "t+1"),
        ([live("t"), good("t"), live("t", "2", 9)], None),  # nobody knows what it would put back
        ([live("t"), good("t"), live("u", "", 9), known("u", "2")], "t"),  # the template, as ever
        ([*WELL, live("t", "", 9)], None),  # made anew: what its pods have read is open
        ([*WELL, known("t", "1 and a checksum", "1")], None),  # the checksum alone differs, which cannot be put back
        ([*WELL, live("t", "2 and a checksum", 9)], "t+1"),
        ([live("t"), good("t"), known("t", "1"), good("t", "1"), live("u", "", 9)], "t+1"),  # known rather than not
    ],
)
def test_destination(events: Sequence[Event], expected: str | None) -> None:
    found = fold(events).destination(POLICY)
    assert (None if found is None else found.release.key) == expected


@pytest.mark.parametrize(
    ("events", "to", "expected"),
    [
        ([*WELL, live("t", "2", 9)], ReleaseId("t", "1"), True),  # edited back
        ([*WELL, live("t", "2", 9)], ReleaseId("t", "3"), False),
        ([*WELL, live("u", "", 9)], ReleaseId("t"), True),  # of whichever configuration it will be
        ([*WELL, bad("t", "1"), live("u", "", 9)], ReleaseId("t"), False),
        ([*WELL, bad("t", "1"), live("t", "2", 8), live("u", "", 9)], ReleaseId("t"), True),
        ([*WELL, live("u", "", 9), live("t", "", 10)], ReleaseId("u"), False),  # forth again
        (
            [*WELL, live("u", "", 9), known("u", "1"), live("t", "", 10, undo_of="u+1"), known("t", "1")],
            ReleaseId("u"),
            False,
        ),
    ],
)
def test_undo(events: Sequence[Event], to: ReleaseId, *, expected: bool) -> None:
    assert fold(events).is_undo(to) is expected


def test_what_is_told_of_the_template_alone_is_told_of_the_release_that_was_live_with_it() -> None:
    ledger = fold([*WELL, live("t", "2", 9), RevisionNumbered(at(9), "t", "8"), bad("t")])
    assert {k: (r.revision, r.status(POLICY)) for k, r in ledger.records.items()} == {
        "t+1": ("7", ReleaseStatus.GOOD), "t+2": ("8", ReleaseStatus.BAD),
    }  # fmt: skip
    assert fold([*WELL, good("t")]).records["t+1"] == fold(WELL).records["t+1"], "what it had then nobody knows"


def test_a_run_from_a_release_whose_configuration_became_known_meanwhile_leaves_that_release() -> None:
    plan = Plan("immediate", "default", "d", UID, "u", "t", (), (), 3, False, None, None, ())
    opened = RunOpened(at(8), "r", "default/d", "rule", "reason", plan, attributed=True)
    ledger = fold([*WELL, live("u", "", 7), known("u", "2"), opened, live("t", "", 9, by="r"), known("t", "1")])
    assert {k: r.status(POLICY) for k, r in ledger.records.items()} == {
        "t+1": ReleaseStatus.GOOD, "u+2": ReleaseStatus.BAD,
    }  # fmt: skip
    assert [(r.key, r.by_guard) for r in ledger.rollouts] == [("t+1", "r")]


def test_every_rollout_is_of_a_release_that_is_known() -> None:
    ledger = fold([live("t"), live("u"), live("t"), known("t", "1"), known("t", "1")])
    assert [(r.key, r.previous) for r in ledger.rollouts] == [("t+1", None), ("u", "t+1"), ("t+1", "u")]
    assert sorted(ledger.records) == ["t+1", "u"]


A, B = "a" * 64, "b" * 64
NAMED: list[Event] = [
    replace(live(A), revision="1"), known(A, "1" * 64), replace(live(A, "2" * 64, 9), revision="1"),
    replace(live(B, "", 10), revision="2"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("2", ["2"]),
        ("1", ["1+111111", "1+222222"]),  # which of the two has to be said
        ("1+111111", ["1+111111"]),
        ("1+2", ["1+222222"]),
        ("aaaaaa+22", ["1+222222"]),
        (f"{A}+{'1' * 64}", ["1+111111"]),
        ("bbbbbb", ["2"]),
        ("2+1", []),
        ("aaaaa", []),
    ],
)
def test_people_call_a_release_by_its_revision_or_hash_and_by_its_configuration(name: str, found: list[str]) -> None:
    assert [record.name for record in fold(NAMED).named(name)] == found


def test_a_mark_names_the_release_by_its_whole_key() -> None:
    ledger = fold(NAMED)
    for key in (f"{A}+{'1' * 64}", f"{A}+{'2' * 64}", B):
        command = MarkRelease(key, at(60), Mark.BAD, "it loses data")
        assert reading.mark(value_of(command), ledger, None, at(0)) == command
    unknown = reading.mark(value_of(MarkRelease(f"{A}+{'3' * 64}", at(60), Mark.BAD, "")), ledger, None, at(0))
    assert isinstance(unknown, Denied)


TEMPLATES, CONFIGURATIONS = st.sampled_from("tu"), st.sampled_from("123")
MOVES = st.lists(
    st.tuples(
        st.sampled_from([*(["edit", "known", "good"] * 2), "patch", "bad", "mark", "lift", "veto", "back"]),
        TEMPLATES,
        CONFIGURATIONS,
    ),
    max_size=30,
)  # fmt: skip


def events_of(ledger: Ledger, move: str, template: str, configuration: str) -> list[Event]:
    """What the guard would journal for this move, in the present situation."""
    now = ledger.live
    if now is None:
        return [live(template)]
    match move:
        case "patch" if template != now.template:
            undo_of = ledger.present if ledger.is_undo(ReleaseId(template)) else None
            return [live(template, undo_of=undo_of)]
        case "edit" if configuration != now.configuration:
            undo_of = ledger.present if ledger.is_undo(ReleaseId(now.template, configuration)) else None
            return [live(now.template, configuration, undo_of=undo_of)]
        case "known" if not now.configuration:
            return [known(now.template, configuration)]
        case "good":
            return [good(now.template, now.configuration)]
        case "bad":
            return [bad(now.template, now.configuration)]
        case "mark" | "lift":
            mark = Mark.BAD if move == "mark" else Mark.NOT_BAD
            return [RevisionMarked(at(0), now.template, mark, "digest", "words", configuration=now.configuration)]
        case "veto":
            return [RunAnswered(at(0), "r", RunCommand.VETO, "digest", "not now", until=at(9_000))]
        case "back":
            to = ledger.destination(POLICY)
            if to is not None and to.template != now.template:
                return [
                    live(to.template, by="r"),
                    *([known(to.template, to.configuration)] if to.configuration else []),
                ]
    return []


@given(MOVES)
def test_what_is_known_later_loses_nothing_that_was_said(moves: Sequence[tuple[str, str, str]]) -> None:
    ledger = Ledger()
    proven = set[str]()
    for move, template, configuration in moves:
        for event in events_of(ledger, move, template, configuration):
            before, ledger = ledger, ledger_events.extend(ledger, [event])
            if isinstance(event, RevisionGood) and ledger.live is not None and ledger.live.good_at is not None:
                proven.add(event.release.key)
            if isinstance(event, RevisionConfigured):
                _nothing_is_lost(before, ledger)
        assert all(r.key in ledger.records for r in ledger.rollouts)
        assert ledger.present is None or ledger.live is not None
        goal, now = ledger.destination(POLICY), ledger.live
        if goal is not None and now is not None:
            assert goal.release.key in proven, "no release is good by what another configuration has earned"
            assert goal.bad_since is None
            assert goal.template != now.template or "" not in {goal.configuration, now.configuration}
            assert goal.release != now.release


def _nothing_is_lost(before: Ledger, after: Ledger) -> None:
    one, other = before.live, after.live
    assert one is not None
    assert other is not None
    if one.bad_since is not None and one.bad_since < one.last_live and other.bad_since is None:
        # It was found before, perhaps with another configuration: there it stays.
        assert after.records[one.release.key] == one
    else:
        assert one.bad_since is None or other.bad_since is not None
        assert not one.objection or other.objection
    assert (
        before.veto is None
        or before.veto.key != before.present
        or after.veto == replace(before.veto, key=other.release.key)
    )
    assert [(r.at, r.earliest, r.by_guard) for r in before.rollouts] == [
        (r.at, r.earliest, r.by_guard) for r in after.rollouts
    ]
    kept = [r for key, r in before.records.items() if key not in {before.present, after.present}]
    assert [after.records[r.release.key] for r in kept] == kept


def test_pods_that_are_replaced_do_not_change_what_is_saved_of_another_configuration() -> None:
    ledger = fold([*WELL, PodsReplaced(at(8), "t", ("checksum/config",), "", at(8), configuration="1")])
    assert (ledger.records["t+1"].blob, ledger.replacement is not None) == ("blob t", True)
