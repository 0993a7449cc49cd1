"""What people say of a release by annotation: read, denied, folded into the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import ledger as ledgers
from logcaster_guard.domain import runs
from logcaster_guard.domain.events import Event, RevisionBad, RevisionMarked
from logcaster_guard.domain.guard_reasons import NoReasonGiven
from logcaster_guard.domain.inbox import reading
from logcaster_guard.domain.inbox.annotations import MAX_LENGTH, Denied
from logcaster_guard.domain.inbox.commands import Mark, MarkRelease, value_of
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.ledger_events import fold
from logcaster_guard.domain.observations import Done, Observation
from logcaster_guard.domain.reasons import MarkedBad
from logcaster_guard.domain.runs import Commit, Run
from logcaster_guard.messages.texts import english
from logcaster_guard.steps.ask_people import AskPeople
from tests.domain.build import at
from tests.domain.test_ledger import DAY, destination, good, live, opened, release_status, seeded
from tests.domain.test_runs import OBSERVATIONS, OPENED, PLAN, at_step, ending, outcome, told

NOW = at(0)
SOON = NOW + timedelta(minutes=5)
V2 = "2" * 64
WORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=50)


def marked(name: str, mark: Mark, words: str = "it loses data") -> RevisionMarked:
    return RevisionMarked(NOW, name, mark, "0123456789abcdef", words)


BAD, LIFTED = marked("v2", Mark.BAD), marked("v2", Mark.NOT_BAD)
ROLLED_BACK: Sequence[Event] = [opened("r", "v2", "v1"), live("v1", by="r")]


@pytest.mark.parametrize(
    ("events", "expected", "goal"),
    [
        # A rollback left v2; lifted, it is what it had earned.
        ([live("v1"), good("v1"), live("v2"), *ROLLED_BACK, live("v3")], ReleaseStatus.BAD, "v1"),
        ([live("v1"), good("v1"), live("v2"), *ROLLED_BACK, LIFTED, live("v3")], ReleaseStatus.UNPROVEN, "v1"),
        ([live("v1"), good("v1"), live("v2"), good("v2"), *ROLLED_BACK, LIFTED, live("v3")], ReleaseStatus.GOOD, "v1"),
        ([live("v1"), live("v2"), good("v2"), *ROLLED_BACK, live("v3")], ReleaseStatus.BAD, None),
        ([live("v1"), live("v2"), good("v2"), *ROLLED_BACK, LIFTED, live("v3")], ReleaseStatus.GOOD, "v2"),
        ([seeded("v2", 1, undone=True), live("v3")], ReleaseStatus.BAD, None),
        ([seeded("v2", 1, undone=True), LIFTED, live("v3")], ReleaseStatus.PRESUMED_GOOD, "v2"),
        ([seeded("v2", 1, stood=DAY - 1, undone=True), LIFTED, live("v3")], ReleaseStatus.UNPROVEN, None),
        # An unproven one that was lifted earns good as any other, without being rolled out again.
        (
            [live("v1"), live("v2"), RevisionBad(NOW, "v2", ""), LIFTED, good("v2"), live("v3")],
            ReleaseStatus.GOOD,
            "v2",
        ),
        # Marked bad it is no destination, whatever it had earned, and until it is live again and earns good anew.
        ([live("v2"), good("v2"), BAD, live("v3")], ReleaseStatus.BAD, None),
        ([live("v1"), good("v1"), live("v2"), good("v2"), BAD, live("v3")], ReleaseStatus.BAD, "v1"),
        ([seeded("v2", 1), live("v3"), BAD], ReleaseStatus.BAD, None),
        ([live("v2"), good("v2"), BAD, good("v2"), live("v3")], ReleaseStatus.BAD, None),
        ([live("v2"), BAD, live("v1"), live("v2"), good("v2"), live("v3")], ReleaseStatus.GOOD, "v2"),
        # Where the guard puts it all the same, since the word came too late, that is no person's rollout.
        ([live("v2"), BAD, live("v1"), live("v2", by="r"), good("v2"), live("v3")], ReleaseStatus.BAD, None),
        # The last word counts.
        ([live("v2"), good("v2"), BAD, LIFTED, live("v3")], ReleaseStatus.GOOD, "v2"),
        ([live("v2"), good("v2"), BAD, LIFTED, BAD, live("v3")], ReleaseStatus.BAD, None),
        ([live("v2"), good("v2"), BAD, LIFTED, RevisionBad(NOW, "v2", ""), live("v3")], ReleaseStatus.BAD, None),
        # Of what is not known nothing is said.
        ([live("v2"), good("v2"), marked("v9", Mark.BAD), live("v3")], ReleaseStatus.GOOD, "v2"),
    ],
)
def test_the_ledger_after_what_people_said(events: Sequence[Event], expected: ReleaseStatus, goal: str | None) -> None:
    assert release_status(events, "v2") is expected
    assert destination(events) == goal


def test_why_it_is_bad_is_told_in_the_persons_words_until_it_is_lifted() -> None:
    record = fold([live("v2"), BAD]).records["v2"]
    assert (record.bad_reason, record.objection) == (MarkedBad("it loses data"), "it loses data")
    lifted = fold([live("v2"), BAD, LIFTED]).records["v2"]
    assert (lifted.bad_reason, lifted.objection, lifted.bad_at) == ("", "", None)
    assert fold([live("v2"), RevisionBad(NOW, "v2", "left by a run")]).records["v2"].objection == ""
    assert fold([live("v2"), marked("v2", Mark.BAD, "")]).records["v2"].objection == NoReasonGiven()


@given(st.sampled_from(Mark), st.lists(WORDS.filter(bool), max_size=5).map(" ".join))
def test_what_is_written_is_what_is_read(mark: Mark, words: str) -> None:
    marking = MarkRelease("v2", SOON, mark, words)
    ledger = fold([live("v2"), marked("v2", Mark.BAD)])
    assert reading.mark(value_of(marking), ledger, None, NOW) == marking


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "no instant"),
        (V2, "no instant"),
        (f"{V2} bad it loses data", "no instant"),
        (f"{V2} 2026-01-01T00:05:00 bad", "no time zone"),
        (f"{V2} {at(-60).isoformat()} bad", "expired"),
        (f"{V2} 2999-01-01T00:00:00Z bad", "more than a day"),
        (f"{V2} {SOON.isoformat()}", "one of bad, not-bad"),
        (f"{V2} {SOON.isoformat()} good", "one of bad, not-bad"),
        (f"{V2} {SOON.isoformat()} BAD", "one of bad, not-bad"),
        (f"{V2} {SOON.isoformat()} bad a\nline", "control characters"),
        (f"{V2} {SOON.isoformat()} bad " + "x" * MAX_LENGTH, "longer than"),
    ],
)
def test_what_is_no_mark_is_denied_in_words(value: str, words: str) -> None:
    found = reading.mark(value, LEDGER, None, NOW)
    assert isinstance(found, Denied)
    assert words in english().text(found.reason)


LEDGER = fold([live("v1"), good("v1"), live("v2"), *ROLLED_BACK])
OPEN = Run(opened("q", "v2", "v1"))


@pytest.mark.parametrize(
    ("template", "mark", "run", "words"),
    [
        ("v1", Mark.BAD, None, None),
        ("v2", Mark.BAD, None, None),  # once more: it must earn good anew
        ("v2", Mark.NOT_BAD, None, None),
        ("v2", Mark.NOT_BAD, Run(opened("q", "v3", "v1")), None),
        ("v1", Mark.BAD, OPEN, None),
        ("v1", Mark.NOT_BAD, None, "revision v1 is not bad"),
        ("v2", Mark.NOT_BAD, OPEN, "run q is rolling revision v2 back"),
        ("v", Mark.BAD, None, "not the whole hash of a release"),
        ("v9", Mark.BAD, None, "not the whole hash of a release"),
        ("v9", Mark.NOT_BAD, None, "not the whole hash of a release"),
    ],
)
def test_what_counts_and_what_does_not(template: str, mark: Mark, run: Run | None, words: str | None) -> None:
    marking = MarkRelease(template, SOON, mark, "because")
    found = reading.mark(value_of(marking), LEDGER, run, NOW)
    if words is None:
        assert found == marking
    else:
        assert isinstance(found, Denied)
        assert words in english().text(found.reason)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("3", ["aaaaaa11"]),
        ("aaaaaa1", ["aaaaaa11"]),
        ("aaaaaa", ["aaaaaa11", "aaaaaa22"]),
        ("aaaaa", []),
        ("5", ["aaaaaa22", "bbbbbb33"]),
        ("", []),
    ],
)
def test_a_release_is_named_by_number_or_by_first_digits(name: str, expected: Sequence[str]) -> None:
    assert ledgers.named({"aaaaaa11": "3", "aaaaaa22": "5", "bbbbbb33": "5"}, name) == expected


ASKED = replace(PLAN, steps=(AskPeople("r", 60.0, False, 20.0, 30.0, 120.0), *PLAN.steps))


@pytest.mark.parametrize("step", range(len(PLAN.steps)))
@pytest.mark.parametrize("holding", [True, False])
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_a_run_does_not_go_on_to_what_people_call_bad(
    step: int, observation: Observation | None, *, holding: bool
) -> None:
    run = at_step(step, holding=holding)
    decision = runs.next(run, observation, NOW, 1.0, objection="it loses data")
    assert told(decision) == ["RunEnding"]
    assert outcome(decision) == (runs.ABANDONED, True)
    assert isinstance(decision, Commit)
    assert "DestinationMarkedBad(words='it loses data'" in str(decision.events[0])


def test_while_people_are_asked_it_is_a_veto_and_one_that_is_done_has_ended_well() -> None:
    asking = Run(replace(OPENED, plan=ASKED), started=NOW)
    assert outcome(runs.next(asking, Done(), NOW, 1.0, objection="it loses data")) == (runs.VETOED, False)
    over = at_step(len(PLAN.steps))
    assert outcome(runs.next(over, None, NOW, 1.0, objection="it loses data")) == (runs.RECOVERED, False)


def test_a_run_that_ends_goes_on_ending() -> None:
    run = ending(runs.FAILED, holding=True, freeze=True)
    for observation in OBSERVATIONS:
        assert runs.next(run, observation, NOW, 1.0, objection="no") == runs.next(run, observation, NOW, 1.0)
