"""What counts as an answer to a run, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import runs
from logcaster_guard.domain.events import Event, RunAnswered, RunEnding, RunOpened, StepDone, StepStarted
from logcaster_guard.domain.inbox import commands, freezes
from logcaster_guard.domain.inbox.annotations import APPROVE, FREEZE, VETO, Denied, digest, objection_to_reason
from logcaster_guard.domain.inbox.commands import AnswerRun, RunCommand
from logcaster_guard.domain.inbox.denials import FrozenByPerson, NotFrozen
from logcaster_guard.domain.inbox.freezes import FreezeCommand, SetFreeze
from logcaster_guard.domain.inbox.reading import answer
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.reasons import Said
from logcaster_guard.domain.runs import ABANDONED, SUBSIDED, VETOED, Commit, Run
from logcaster_guard.domain.steps import Plan
from logcaster_guard.messages.texts import english
from logcaster_guard.steps.ask_people import AskPeople
from logcaster_guard.steps.restore_template import RestoreTemplate
from tests.domain.build import UID, at

ASK = AskPeople("high_error_rate", 300.0, False, 120.0, 60.0, 3_600.0)
PLAN = Plan("alert_then", "shop", "web", UID, "bad", "good", ("bad",), ("good",), 3, False, None, None,
            (ASK, RestoreTemplate("blob")))  # fmt: skip
OPENED = RunOpened(at(0), "r", "shop/web", "high_error_rate", "reason", PLAN)
ASKING = Run(OPENED, started=at(0))
RESTORING = replace(ASKING, step=1)
NOW = at(100)
OTHER = replace(OPENED, plan=replace(PLAN, replicas=4)).approval_token


def value(token: str = OPENED.approval_token, ahead: float = 60.0, reason: str = "because") -> str:
    return commands.value_of(AnswerRun(RunCommand.VETO, token, NOW + timedelta(seconds=ahead), reason))


def answered(command: RunCommand) -> RunAnswered:
    return RunAnswered(NOW, "r", command, "digest", "because")


@pytest.mark.parametrize("command", list(RunCommand))
def test_a_fresh_answer_to_the_very_plan_counts_with_its_words(command: RunCommand) -> None:
    expiry = NOW + timedelta(seconds=60.0)
    assert answer(command, value(), ASKING, NOW) == AnswerRun(command, OPENED.approval_token, expiry, "because")


@pytest.mark.parametrize("command", list(RunCommand))
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (value(OTHER), "another run or plan"),
        (value(replace(OPENED, run="s").approval_token), "another run or plan"),
        (value(""), "another run or plan"),
        (value("*"), "another run or plan"),
        (value(OPENED.approval_token.upper()), "another run or plan"),
        (value(OPENED.approval_token[:15]), "another run or plan"),
        (value(OPENED.approval_token + "0"), "another run or plan"),
        ("", "another run or plan"),
        (OPENED.approval_token, "no instant"),
        (f"{OPENED.approval_token} soon", "no instant"),
        (f"{OPENED.approval_token} 2026-01-01T00:10:00", "no time zone"),
        (value(ahead=0), "expired"),
        (value(ahead=-1), "expired"),
        (value(ahead=86_401), "more than a day"),
        (f"{OPENED.approval_token} 9999-12-31T23:59:59-23:59", "more than a day"),
        (value(reason="x" * 1_100), "longer than 1024 characters"),
        (value(reason="a\nb"), "control characters"),
        (value(reason="a\x1b[2Jb"), "control characters"),
        (value(reason="a\u202eb"), "control characters"),
        (value(reason="a\ud800b"), "control characters"),
    ],
)
def test_anything_else_is_denied_with_its_reason(command: RunCommand, text: str, reason: str) -> None:
    found = answer(command, text, ASKING, NOW)
    assert isinstance(found, Denied)
    assert reason in english().text(found.reason)


ENDING = replace(RESTORING, ending=RunEnding(NOW, "r", ABANDONED, "x", freeze=True))


@pytest.mark.parametrize(
    ("run", "command", "reason"),
    [
        (None, RunCommand.APPROVE, "no rollback is open"),
        (None, RunCommand.ABANDON, "no rollback is open"),
        (RESTORING, RunCommand.APPROVE, "does not ask any more"),
        (RESTORING, RunCommand.VETO, "does not ask any more"),
        (ENDING, RunCommand.ABANDON, "is ending already"),
        (replace(ASKING, said=answered(RunCommand.VETO)), RunCommand.APPROVE, "answered already (veto)"),
        (replace(ASKING, said=answered(RunCommand.APPROVE)), RunCommand.APPROVE, "answered already (approve)"),
        (replace(ASKING, said=answered(RunCommand.ABANDON)), RunCommand.VETO, "is ending already"),
    ],
)
def test_an_answer_that_the_run_does_not_take_is_denied(run: Run | None, command: RunCommand, reason: str) -> None:
    found = answer(command, value(), run, NOW)
    assert isinstance(found, Denied)
    assert reason in english().text(found.reason)


@pytest.mark.parametrize("run", [replace(ASKING, said=answered(RunCommand.APPROVE)), RESTORING])
def test_a_run_can_be_abandoned_as_long_as_it_is_open(run: Run) -> None:
    assert isinstance(answer(RunCommand.ABANDON, value(), run, NOW), AnswerRun)


def test_a_no_counts_over_a_yes_that_was_not_acted_upon_yet() -> None:
    run = replace(ASKING, said=answered(RunCommand.APPROVE))
    assert isinstance(answer(RunCommand.VETO, value(), run, NOW), AnswerRun)


OBSERVED = st.sampled_from(
    [
        None,
        Before(),
        Done("d"),
        ExternalChange("theirs"),
        Unclear("?"),
        Failed(SUBSIDED, "over"),
        Failed(VETOED, "frozen"),
    ]
)


@given(OBSERVED, st.sampled_from([ASKING, RESTORING, replace(RESTORING, step=2)]))
def test_an_abandoned_run_does_nothing_more_but_to_end_frozen(seen: Observation | None, run: Run) -> None:
    decision = runs.next(replace(run, said=answered(RunCommand.ABANDON)), seen, NOW, 1.0)
    assert decision == Commit((RunEnding(NOW, "r", ABANDONED, Said("abandon", "because"), freeze=True),))


@given(OBSERVED)
def test_a_veto_ends_it_without_a_freeze_whatever_is_seen(seen: Observation | None) -> None:
    decision = runs.next(replace(ASKING, said=answered(RunCommand.VETO)), seen, NOW, 1.0)
    assert decision == Commit((RunEnding(NOW, "r", VETOED, Said("veto", "because"), freeze=False),))


def test_an_answer_without_words_says_so() -> None:
    said = replace(answered(RunCommand.VETO), words="")
    decision = runs.next(replace(ASKING, said=said), None, NOW, 1.0)
    assert isinstance(decision, Commit)
    assert isinstance(decision.events[0], RunEnding)
    assert english().text(decision.events[0].reason) == "somebody vetoed it: no reason was given"


@given(OBSERVED)
def test_an_approval_counts_only_where_nothing_speaks_against_it(seen: Observation | None) -> None:
    decision = runs.next(replace(ASKING, said=answered(RunCommand.APPROVE)), seen, NOW, 1.0)
    goes_on = decision == Commit((StepDone(NOW, "r", 0, Said("approve", "because")),))
    assert goes_on == isinstance(seen, Before | Done)


def test_an_answer_is_of_its_step_and_its_run_only() -> None:
    events: list[Event] = [OPENED, StepStarted(at(1), "r", 0), answered(RunCommand.APPROVE), StepDone(at(3), "r", 0)]
    assert runs.fold(events[:3])["r"].said == events[2]
    assert runs.fold(events)["r"].said is None


def test_what_is_remembered_tells_object_annotation_and_content_apart() -> None:
    digests = {digest(u, a, v) for u in ("u", "v") for a in (VETO, APPROVE) for v in ("x", "y")}
    assert len(digests) == 8
    assert len(digest("u", VETO, "\ud800")) == 16


@pytest.mark.parametrize(
    ("command", "annotation", "by", "expected"),
    [
        (FreezeCommand.FREEZE, None, None, "why"),
        (FreezeCommand.FREEZE, "older", "guard", "why"),
        (FreezeCommand.UNFREEZE, "older", "annotation", "false: why (2026-01-01T00:01:40Z)"),
        (FreezeCommand.UNFREEZE, None, "guard", "false: why (2026-01-01T00:01:40Z)"),
        (FreezeCommand.UNFREEZE, None, "", "false: why (2026-01-01T00:01:40Z)"),
        (FreezeCommand.UNFREEZE, "false: before", None, Denied(NotFrozen())),
        (FreezeCommand.UNFREEZE, None, None, Denied(NotFrozen())),
        (FreezeCommand.RESUME, None, "guard", "false: why (2026-01-01T00:01:40Z)"),
        (FreezeCommand.RESUME, "false: before", "guard", "false: why (2026-01-01T00:01:40Z)"),
        (FreezeCommand.RESUME, "theirs", "guard", Denied(FrozenByPerson("theirs"))),
        (
            FreezeCommand.RESUME,
            None,
            "annotation",
            Denied(FrozenByPerson("")),
        ),
        (FreezeCommand.RESUME, None, None, Denied(NotFrozen())),
    ],
)
def test_what_freezing_and_lifting_write(
    command: FreezeCommand, annotation: str | None, by: str | None, expected: str | Denied
) -> None:
    annotations = {} if annotation is None else {FREEZE: annotation}
    assert freezes.written(SetFreeze(command, "why", by), annotations, NOW) == expected


def test_a_reason_cannot_turn_a_freeze_into_its_contrary() -> None:
    assert isinstance(freezes.written(SetFreeze(FreezeCommand.FREEZE, " False alarm", None), {}, NOW), Denied)


@pytest.mark.parametrize("words", ["", "  ", "a\nb", "x" * 513])
def test_words_that_cannot_be_written_are_named(words: str) -> None:
    assert objection_to_reason(words) is not None
