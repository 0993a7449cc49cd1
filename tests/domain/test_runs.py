from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import runs
from logcaster_guard.domain.errors import GuardError
from logcaster_guard.domain.events import (
    Event,
    HoldReleased,
    NoticeQueued,
    OwnerSuspended,
    PeopleReminded,
    RevisionBad,
    RunClosed,
    RunEnding,
    RunOpened,
    StepDone,
    StepIntended,
    StepStarted,
    TargetThawed,
)
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Pending, Unclear
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.runs import (
    ABANDONED,
    DESTINATION_BAD,
    FAILED,
    HARMLESS,
    INCONCLUSIVE,
    NOT_RECOVERED,
    RECOVERED,
    Close,
    Commit,
    Compensate,
    Perform,
    Run,
    WaitUntil,
)
from logcaster_guard.domain.steps import WRITE_TIMEOUT, Compensation, Plan
from logcaster_guard.steps.ask_people import AskPeople
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.remove_helper import RemoveHelper
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.step_services import compensations_of
from logcaster_guard.steps.verify_recovery import VerifyRecovery
from tests.domain.build import UID, at

BORROWED = compensations_of(KINDS)
HOLD = Compensation("autoscaler/hpa", "autoscaler_minimum", "hpa", "hpa-uid", 2, 4)
STEPS = (
    RaiseAutoscalerMinimum("hpa", "hpa-uid", 4),
    RestoreTemplate("blob"),
    AwaitRollout(600.0),
    VerifyRecovery("high_error_rate", 300.0, 1_200.0),
)
PLAN = Plan("immediate", "default", "d", UID, "bad", "good", ("bad",), ("good",), 4, False, None, None, STEPS)
OPENED = RunOpened(at(0), "r", "default/d", "high_error_rate", "reason", PLAN)
NOW = at(100)
RAISE, RESTORE, ROLLOUT, VERIFY = range(4)
OBSERVATIONS: Sequence[Observation | None] = (
    None,
    Before("waiting"),
    Done("seen"),
    ExternalChange("theirs"),
    Unclear("unknown"),
    Failed(FAILED, "broken"),
)


def at_step(step: int, *, holding: bool = False, started: bool = True) -> Run:
    run = Run(OPENED, step=step, started=at(50) if started else None)
    return replace(run, compensations={HOLD.id: HOLD}) if holding else run


def ending(outcome: str = RECOVERED, *, holding: bool, freeze: bool = False) -> Run:
    return replace(at_step(VERIFY, holding=holding), ending=RunEnding(at(60), "r", outcome, "why", freeze))


def told(decision: runs.Decision) -> list[str]:
    assert isinstance(decision, Commit)
    return [type(e).__name__ for e in decision.events]


def outcome(decision: runs.Decision) -> tuple[str, bool]:
    assert isinstance(decision, Commit)
    event = decision.events[0]
    assert isinstance(event, RunEnding)
    return event.outcome, event.freeze


@pytest.mark.parametrize("step", range(4))
def test_a_step_is_started_before_anything_else(step: int) -> None:
    for observation in OBSERVATIONS:
        decision = runs.next(at_step(step, started=False), observation, NOW, 0.0)
        assert decision == Commit((StepStarted(NOW, "r", step),))


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("overdue", [False, True])
def test_each_observation_of_each_step(step: int, *, overdue: bool) -> None:
    run, elapsed = at_step(step), 1e9 if overdue else 1.0
    writes = step in {RAISE, RESTORE}
    late = INCONCLUSIVE if step == VERIFY else FAILED

    assert runs.next(run, Done("seen"), NOW, elapsed) == Commit((StepDone(NOW, "r", step, "seen"),))
    assert outcome(runs.next(run, ExternalChange("theirs"), NOW, elapsed)) == (ABANDONED, True)
    assert outcome(runs.next(run, Failed(FAILED, "broken"), NOW, elapsed)) == (FAILED, True)
    assert isinstance(runs.next(run, None, NOW, elapsed), WaitUntil)

    unclear = runs.next(run, Unclear("unknown"), NOW, elapsed)
    before = runs.next(run, Before("waiting"), NOW, elapsed)
    if overdue:
        # A rollout that nobody was let look at has not failed.
        assert outcome(unclear) == (INCONCLUSIVE if step == ROLLOUT else late, True)
        assert outcome(before) == (late, True)
    else:
        assert isinstance(unclear, WaitUntil)
        assert isinstance(before, Perform if writes else WaitUntil)


def test_the_deadlines() -> None:
    for step, seconds in ((RAISE, WRITE_TIMEOUT), (RESTORE, WRITE_TIMEOUT), (ROLLOUT, 600.0), (VERIFY, 1_200.0)):
        assert not isinstance(runs.next(at_step(step), Before(), NOW, seconds - 0.1), Commit)
        assert isinstance(runs.next(at_step(step), Before(), NOW, seconds), Commit)


OWNER = Compensation("owner/Kustomization a/b", "gitops_owner", "Kustomization a/b", "u", None, 1, run="r", saved="{}")


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(
    "end", [RECOVERED, NOT_RECOVERED, INCONCLUSIVE, ABANDONED, FAILED, DESTINATION_BAD, *sorted(HARMLESS)]
)
def test_the_good_release_is_left_in_place_by_some_ends_of_a_run_that_put_it_there(end: str, *, restored: bool) -> None:
    run = replace(ending(end, holding=False), done_at={RESTORE: at(55)} if restored else {})
    assert run.leaves_destination is (restored and end in {RECOVERED, NOT_RECOVERED, INCONCLUSIVE})


def test_what_stays_out_beyond_the_run_is_told_to_the_journal_with_its_release() -> None:
    run = replace(ending(RECOVERED, holding=False), compensations={OWNER.id: OWNER})
    seen = Done("it stays suspended", OwnerSuspended(NOW, "r", OWNER))
    assert told(runs.next(run, seen, NOW, 1.0)) == ["OwnerSuspended", "HoldReleased"]
    assert runs.next(run, Before("suspended"), NOW, 1.0) == Compensate(OWNER)


def test_a_judgement_says_itself_what_running_out_of_time_means() -> None:
    breached = Before("30 % errors", overdue=(NOT_RECOVERED, "still in breach"))
    assert outcome(runs.next(at_step(VERIFY), breached, NOW, 1_200.0)) == (NOT_RECOVERED, True)


def test_a_destination_that_proved_bad_is_bad_from_then_on() -> None:
    decision = runs.next(at_step(ROLLOUT), Failed(DESTINATION_BAD, "it fails too"), NOW, 1.0)
    assert told(decision) == ["RunEnding", "RevisionBad"]
    assert outcome(decision) == (DESTINATION_BAD, True)
    assert told(runs.next(at_step(VERIFY), Failed(NOT_RECOVERED, "no"), NOW, 1.0)) == ["RunEnding"]


def test_one_that_stands_for_another_release_shows_what_that_is() -> None:
    plan = replace(PLAN, to_template="with copies", stands_for=ReleaseId("good", "c").key)
    run = replace(at_step(ROLLOUT), opened=replace(OPENED, plan=plan))
    decision = runs.next(run, Failed(DESTINATION_BAD, "it fails too"), NOW, 1.0)
    assert isinstance(decision, Commit)
    bad = [(e.template, e.configuration) for e in decision.events if isinstance(e, RevisionBad)]
    assert bad == [("with copies", ""), ("good", "c")]


def test_what_was_asked_for_is_waited_for_and_not_written_again() -> None:
    assert isinstance(runs.next(at_step(RESTORE), Pending("deleting"), NOW, 1.0), WaitUntil)
    assert outcome(runs.next(at_step(RESTORE), Pending("deleting"), NOW, 1e9)) == (FAILED, True)
    assert isinstance(runs.next(ending(holding=True), Pending("deleting"), NOW, 1e9), WaitUntil)


ASK = AskPeople("high_error_rate", 300.0, require_approval=False, remind_every=120.0, quiet_for=300.0, timeout=900.0)


def asking(*, reminded: int = 0) -> Run:
    opened = replace(OPENED, plan=replace(PLAN, strategy="alert_then", steps=(ASK, *STEPS)))
    return Run(opened, started=at(50), reminded=reminded)


@pytest.mark.parametrize("end", sorted(HARMLESS))
def test_a_question_that_ends_with_no_leaves_the_target_free(end: str) -> None:
    assert outcome(runs.next(asking(), Failed(end, "so"), NOW, 1.0)) == (end, False)
    assert outcome(runs.next(asking(), ExternalChange("theirs"), NOW, 1.0)) == (ABANDONED, False)


@pytest.mark.parametrize(
    ("elapsed", "reminded", "number"), [(119.0, 0, 0), (120.0, 0, 1), (241.0, 1, 2), (239.0, 1, 0)]
)
def test_people_are_reminded_now_and_then(elapsed: float, reminded: int, number: int) -> None:
    decision = runs.next(asking(reminded=reminded), Before("waiting"), NOW, elapsed)
    expected = Commit((PeopleReminded(NOW, "r", number),)) if number else WaitUntil(runs.POLL, "waiting")
    assert decision == expected


def test_of_two_runs_on_a_target_none_is_dropped_that_has_changed_or_borrowed_something() -> None:
    fresh, touched, holding = Run(OPENED), Run(OPENED, touched=True), Run(OPENED, compensations={HOLD.id: HOLD})
    assert runs.superfluous([fresh, fresh]) == [fresh]
    assert runs.superfluous([fresh]) == []
    for both in ([fresh, touched], [touched, fresh], [fresh, holding], [holding, fresh]):
        assert runs.superfluous(both) == [fresh]
    for both in ([touched, holding], [holding, touched], [holding, holding]):
        assert runs.superfluous(both) == []


def test_a_run_takes_over_the_holds_that_it_was_opened_with() -> None:
    handed = runs.fold([replace(OPENED, parent="slower", holds=(HOLD,))])["r"]
    assert handed.owed == HOLD


def test_a_run_is_past_taking_over_once_its_template_is_written() -> None:
    assert [at_step(step).restoring for step in (RAISE, RESTORE, ROLLOUT, VERIFY)] == [False, False, True, True]
    assert ending(holding=False).restoring
    assert replace(at_step(RAISE), ending=ending(holding=False).ending).restoring


def test_an_effect_is_only_tried_with_its_intent_and_what_it_borrows() -> None:
    decision = runs.next(replace(at_step(RAISE), attempts=2), Before("minimum 2", borrows=HOLD), NOW, 0.0)
    assert decision == Perform(StepIntended(NOW, "r", RAISE, 3, HOLD), STEPS[RAISE])


def test_waiting_is_longer_after_each_try_and_as_long_as_was_asked_but_bounded() -> None:
    def pause(attempts: int, asked: float | None) -> float:
        decision = runs.next(replace(at_step(RESTORE), attempts=attempts), Unclear("503", asked), NOW, 0.0)
        assert isinstance(decision, WaitUntil)
        return decision.seconds

    assert pause(0, None) < pause(2, None) <= pause(500, None) <= 60.0
    assert pause(0, 20.0) == 20.0
    assert pause(0, 86_400.0) == 60.0


def test_when_all_is_done_it_ends_well() -> None:
    assert outcome(runs.next(at_step(4, started=False), None, NOW, 0.0)) == (RECOVERED, False)


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_it_closes_only_when_nothing_is_borrowed(observation: Observation | None) -> None:
    decision = runs.next(ending(FAILED, holding=True, freeze=True), observation, NOW, 0.0)
    assert not isinstance(decision, Close | Perform)
    closed = runs.next(ending(FAILED, holding=False, freeze=True), None, NOW, 0.0)
    assert closed == Close(RunClosed(NOW, "r", FAILED, "why", freeze=True))


def test_giving_back() -> None:
    run = ending(holding=True)
    assert runs.next(run, Before(), NOW, 0.0) == Compensate(HOLD)
    assert told(runs.next(run, Done(), NOW, 0.0)) == ["HoldReleased"]
    assert told(runs.next(run, ExternalChange("theirs"), NOW, 0.0)) == ["HoldReleased"]
    assert isinstance(runs.next(run, Unclear("503"), NOW, 1e9), WaitUntil)


def test_what_cannot_be_given_back_is_said() -> None:
    decision = runs.next(ending(holding=True), Failed(FAILED, "403"), NOW, 0.0)
    assert decision == Commit((HoldReleased(NOW, "r", HOLD.id, "403", kept_out=True),))


def test_what_something_stands_in_for_is_not_given_up() -> None:
    run = ending(holding=True)
    assert isinstance(runs.next(run, Failed(FAILED, "403"), NOW, 1e9, stood_in_for=True), WaitUntil)
    assert told(runs.next(run, Failed(FAILED, "403"), NOW, 1e9)) == ["HoldReleased"]


@pytest.mark.parametrize("kind", sorted(BORROWED))
def test_while_a_helper_stands_in_productions_size_is_not_given_up(kind: str) -> None:
    helper, owed = (replace(HOLD, id=kind, kind=kind) for kind in ("helper", kind))
    run = replace(ending(holding=True), compensations={helper.id: helper, owed.id: owed})
    stands_in = BORROWED[kind].stood_in_for
    assert stands_in(run) is (kind in {"replicas", "autoscaler_bounds"})
    assert not stands_in(replace(run, compensations={owed.id: owed} if kind != "helper" else {}))
    plan = replace(PLAN, steps=(RemoveHelper("h"),))
    assert not stands_in(replace(run, opened=replace(OPENED, plan=plan), done_at={0: at(55)}))


def test_holds_are_given_back_in_reverse() -> None:
    later = replace(HOLD, id="autoscaler/two")
    assert replace(at_step(VERIFY), compensations={HOLD.id: HOLD, later.id: later}).owed == later


def test_a_closed_run_takes_no_further_step() -> None:
    with pytest.raises(GuardError):
        runs.next(replace(at_step(0), closed=RunClosed(NOW, "r", FAILED, "", freeze=True)), Before(), NOW, 0.0)


def test_a_step_of_an_unknown_run_is_an_error_and_other_events_are_none_of_its_business() -> None:
    with pytest.raises(GuardError, match="run_never_opened"):
        runs.fold([StepStarted(NOW, "ghost", 0)])
    assert (
        runs.fold([TargetThawed(NOW, "a", "b"), NoticeQueued(NOW, Notice("n", NOW, "e", Severity.INFO, "t", "x"))])
        == {}
    )


SCRIPT = st.lists(
    st.tuples(st.sampled_from(OBSERVATIONS), st.floats(0.0, 2_000.0), st.booleans()), min_size=1, max_size=60
)


@given(SCRIPT)
def test_whatever_is_observed_the_invariants_hold(script: Sequence[tuple[Observation | None, float, bool]]) -> None:
    """The executor's loop over any observations; the third of a triple: the effect of a write is lost in a crash."""
    journal: list[Event] = [OPENED]
    for index, (observation, elapsed, _) in enumerate(script):
        now = at(index)
        run = runs.fold(journal)["r"]
        if run.closed is not None:
            break
        journal += _carried(run, _borrowing(run, observation), now, elapsed)
    _check(journal)


def _borrowing(run: Run, observation: Observation | None) -> Observation | None:
    if isinstance(observation, Before) and isinstance(run.present, RaiseAutoscalerMinimum):
        return replace(observation, borrows=HOLD)
    return observation


def _carried(run: Run, observation: Observation | None, now: datetime, elapsed: float) -> Sequence[Event]:
    match runs.next(run, observation, now, elapsed):
        case Commit(events):
            return events
        case Perform(intent):
            return [intent]
        case Close(closed):
            return [closed]
        case Compensate(owed):
            assert run.ending is not None
            assert owed.id in run.compensations
            return []
        case WaitUntil(seconds):
            assert 0.0 <= seconds <= 60.0
            return []


def _check(journal: Sequence[Event]) -> None:
    owed: set[str] = set()
    step, started, done = 0, False, 0
    over = False
    for event in journal:
        assert not over
        match event:
            case StepStarted():
                assert (event.step, started) == (done, False)
                step, started = event.step, True
            case StepIntended():
                assert (event.step, started) == (step, True)
                owed |= set() if event.hold is None else {event.hold.id}
            case StepDone():
                assert (event.step, started) == (step, True)
                done, started = done + 1, False
            case HoldReleased():
                owed.remove(event.hold)
            case RunEnding():
                assert event.outcome != RECOVERED or done == len(STEPS)
                assert event.freeze is (event.outcome != RECOVERED)
            case RunClosed():
                assert not owed
                over = True
            case _:
                pass
