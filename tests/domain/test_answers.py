"""What counts as an answer to a run, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import inbox, runs
from logcaster_guard.domain.answers import judged
from logcaster_guard.domain.events import Event, RunAnswered, RunEnding, RunOpened, StepDone, StepStarted
from logcaster_guard.domain.inbox import Answer, Denied, Freezing, Frozen, Given, freezing
from logcaster_guard.domain.observations import Before, Done, Failed, Foreign, Observation, Unclear
from logcaster_guard.domain.runs import ABANDONED, SUBSIDED, VETOED, Commit, Run
from logcaster_guard.domain.steps import AskPeople, Plan, RestoreTemplate
from tests.domain.build import UID, at

ASK = AskPeople("high_error_rate", 300.0, False, 120.0, 60.0, 3_600.0)
PLAN = Plan("alert_then", "shop", "web", UID, "bad", "good", ("bad",), ("good",), 3, False, None, None,
            (ASK, RestoreTemplate("blob")))  # fmt: skip
OPENED = RunOpened(at(0), "r", "shop/web", "high_error_rate", "reason", PLAN)
ASKING = Run(OPENED, started=at(0))
RESTORING = replace(ASKING, step=1)
NOW = at(100)
OTHER = replace(OPENED, plan=replace(PLAN, replicas=4)).ticket


def value(ticket: str = OPENED.ticket, ahead: float = 60.0, words: str = "because") -> str:
    return inbox.written(ticket, NOW + timedelta(seconds=ahead), words)


def answered(answer: Answer) -> RunAnswered:
    return RunAnswered(NOW, "r", answer, "digest", "because")


@pytest.mark.parametrize("answer", list(Answer))
def test_a_fresh_answer_to_the_very_plan_counts_with_its_words(answer: Answer) -> None:
    assert judged(ASKING, answer, value(), NOW) == Given("because", NOW + timedelta(seconds=60.0))


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (value(OTHER), "another run or plan"),
        (value(replace(OPENED, run="s").ticket), "another run or plan"),
        (value(""), "another run or plan"),
        (value("*"), "another run or plan"),
        (value(OPENED.ticket.upper()), "another run or plan"),
        (value(OPENED.ticket[:15]), "another run or plan"),
        (value(OPENED.ticket + "0"), "another run or plan"),
        ("", "another run or plan"),
        (OPENED.ticket, "no instant"),
        (f"{OPENED.ticket} soon", "no instant"),
        (f"{OPENED.ticket} 2026-01-01T00:10:00", "no time zone"),
        (value(ahead=0), "expired"),
        (value(ahead=-1), "expired"),
        (value(ahead=86_401), "more than a day"),
        (f"{OPENED.ticket} 9999-12-31T23:59:59-23:59", "more than a day"),
        (value(words="x" * 1_100), "longer than 1024 characters"),
        (value(words="a\nb"), "control characters"),
        (value(words="a\x1b[2Jb"), "control characters"),
        (value(words="a\u202eb"), "control characters"),
        (value(words="a\ud800b"), "control characters"),
    ],
)
def test_anything_else_is_denied_with_its_reason(answer: Answer, text: str, reason: str) -> None:
    found = judged(ASKING, answer, text, NOW)
    assert isinstance(found, Denied)
    assert reason in found.reason


ENDING = replace(RESTORING, ending=RunEnding(NOW, "r", ABANDONED, "x", freeze=True))


@pytest.mark.parametrize(
    ("run", "answer", "reason"),
    [
        (None, Answer.APPROVE, "no rollback is open"),
        (None, Answer.ABANDON, "no rollback is open"),
        (RESTORING, Answer.APPROVE, "does not ask any more"),
        (RESTORING, Answer.VETO, "does not ask any more"),
        (ENDING, Answer.ABANDON, "is ending already"),
        (replace(ASKING, said=answered(Answer.VETO)), Answer.APPROVE, "answered already (veto)"),
        (replace(ASKING, said=answered(Answer.APPROVE)), Answer.APPROVE, "answered already (approve)"),
        (replace(ASKING, said=answered(Answer.ABANDON)), Answer.VETO, "is ending already"),
    ],
)
def test_an_answer_that_the_run_does_not_take_is_denied(run: Run | None, answer: Answer, reason: str) -> None:
    found = judged(run, answer, value(), NOW)
    assert isinstance(found, Denied)
    assert reason in found.reason


@pytest.mark.parametrize("run", [replace(ASKING, said=answered(Answer.APPROVE)), RESTORING])
def test_a_run_can_be_abandoned_as_long_as_it_is_open(run: Run) -> None:
    assert isinstance(judged(run, Answer.ABANDON, value(), NOW), Given)


def test_a_no_counts_over_a_yes_that_was_not_acted_upon_yet() -> None:
    assert isinstance(judged(replace(ASKING, said=answered(Answer.APPROVE)), Answer.VETO, value(), NOW), Given)


OBSERVED = st.sampled_from(
    [None, Before(), Done("d"), Foreign("theirs"), Unclear("?"), Failed(SUBSIDED, "over"), Failed(VETOED, "frozen")]
)


@given(OBSERVED, st.sampled_from([ASKING, RESTORING, replace(RESTORING, step=2)]))
def test_an_abandoned_run_does_nothing_more_but_to_end_frozen(seen: Observation | None, run: Run) -> None:
    decision = runs.next(replace(run, said=answered(Answer.ABANDON)), seen, NOW, 1.0)
    assert decision == Commit((RunEnding(NOW, "r", ABANDONED, "a person abandoned it: because", freeze=True),))


@given(OBSERVED)
def test_a_veto_ends_it_without_a_freeze_whatever_is_seen(seen: Observation | None) -> None:
    decision = runs.next(replace(ASKING, said=answered(Answer.VETO)), seen, NOW, 1.0)
    assert decision == Commit((RunEnding(NOW, "r", VETOED, "somebody vetoed it: because", freeze=False),))


def test_an_answer_without_words_says_so() -> None:
    said = replace(answered(Answer.VETO), words="")
    decision = runs.next(replace(ASKING, said=said), None, NOW, 1.0)
    assert isinstance(decision, Commit)
    assert isinstance(decision.events[0], RunEnding)
    assert decision.events[0].reason == "somebody vetoed it: no reason was given"


@given(OBSERVED)
def test_an_approval_counts_only_where_nothing_speaks_against_it(seen: Observation | None) -> None:
    decision = runs.next(replace(ASKING, said=answered(Answer.APPROVE)), seen, NOW, 1.0)
    goes_on = decision == Commit((StepDone(NOW, "r", 0, "somebody approved it: because"),))
    assert goes_on == isinstance(seen, Before | Done)


def test_an_answer_is_of_its_step_and_its_run_only() -> None:
    events: list[Event] = [OPENED, StepStarted(at(1), "r", 0), answered(Answer.APPROVE), StepDone(at(3), "r", 0)]
    assert runs.fold(events[:3])["r"].said == events[2]
    assert runs.fold(events)["r"].said is None


def test_what_is_remembered_tells_object_annotation_and_content_apart() -> None:
    digests = {inbox.digest(u, a, v) for u in ("u", "v") for a in (inbox.VETO, inbox.APPROVE) for v in ("x", "y")}
    assert len(digests) == 8
    assert inbox.digest("u", inbox.VETO, "\ud800")


@pytest.mark.parametrize(
    ("word", "annotation", "by", "expected"),
    [
        (Freezing.FREEZE, None, None, "why"),
        (Freezing.FREEZE, "older", "guard", "why"),
        (Freezing.UNFREEZE, "older", "annotation", "false: why (2026-01-01T00:01:40Z)"),
        (Freezing.UNFREEZE, None, "guard", "false: why (2026-01-01T00:01:40Z)"),
        (Freezing.UNFREEZE, None, "", "false: why (2026-01-01T00:01:40Z)"),
        (Freezing.UNFREEZE, "false: before", None, Denied("it is not frozen")),
        (Freezing.UNFREEZE, None, None, Denied("it is not frozen")),
        (Freezing.RESUME, None, "guard", "false: why (2026-01-01T00:01:40Z)"),
        (Freezing.RESUME, "false: before", "guard", "false: why (2026-01-01T00:01:40Z)"),
        (Freezing.RESUME, "theirs", "guard", Denied("a person froze it (theirs): unfreeze it once that is over")),
        (Freezing.RESUME, None, "annotation", Denied("a person froze it (see status): unfreeze it once that is over")),
        (Freezing.RESUME, None, None, Denied("it is not frozen")),
    ],
)
def test_what_freezing_and_lifting_write(
    word: Freezing, annotation: str | None, by: str | None, expected: str | Denied
) -> None:
    assert freezing(word, Frozen(annotation, by), "why", NOW) == expected


def test_a_reason_cannot_turn_a_freeze_into_its_contrary() -> None:
    assert isinstance(freezing(Freezing.FREEZE, Frozen(None, None), " False alarm", NOW), Denied)
    assert inbox.is_freeze("") and not inbox.is_freeze(None)  # noqa: PT018 - two sides of one thing


@pytest.mark.parametrize("words", ["", "  ", "a\nb", "x" * 513])
def test_words_that_cannot_be_written_are_named(words: str) -> None:
    assert inbox.unfit_words(words) is not None
