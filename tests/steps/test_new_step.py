"""A step that is one file and a row is guarded by everything that guards the others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from logcaster_guard import messages
from logcaster_guard.adapters.journal_codec import EventCodec, Unreadable
from logcaster_guard.domain import runs
from logcaster_guard.domain.errors import GuardError
from logcaster_guard.domain.events import HoldReleased, RunClosed, RunOpened, StepDone, StepIntended
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.observations import Before
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.runs import PUT_BACK, Run
from logcaster_guard.domain.steps import CLUSTER, ObjectReference, Plan, Step
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine import epoch_marker
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.hub import Hub
from logcaster_guard.engine.journal_state import JournalState, run_stream
from logcaster_guard.messages.message_kinds import MESSAGES
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.step_services import compensations_of, handlers_of
from logcaster_guard.stores import CODEC
from tests.domain.build import UID, at, deployment
from tests.fakes.clock import FakeClock
from tests.fakes.journal import MemoryJournal
from tests.steps.set_scaler import KIND, SCALERS, SetScaler

WITH_IT = (*KINDS, KIND)
STEP = SetScaler("outer", "digest-of-settings", 7)
BEFORE: Any = {"size": 3, "days": ["mon", "tue"], "burst": None}
SCALER = ObjectReference("scalers", "Scaler", "", "outer")
HASH = Workload(deployment()).hash
PLAN = Plan(
    "immediate", "default", "logcaster-prod", UID, HASH, "good", ("bad",), ("good",), 3, True, None, None, (STEP,)
)  # fmt: skip
OPENED = RunOpened(at(0), "r", "default/logcaster-prod", "high_error_rate", "reason", PLAN)


NOTHING: Any = None
"""What the handlers of this step need."""


async def carried_out() -> tuple[MemoryJournal, JournalState]:
    """The journal of a run of that one step."""
    journal, clock = MemoryJournal(), FakeClock()
    state = JournalState(journal, clock)
    executor = Executor(state, clock, handlers_of([KIND], NOTHING), hub=Hub())
    await state.decide(run_stream("r"), OPENED)
    executor.start(run_stream("r"), "r")
    await asyncio.wait_for(executor.join(), 10.0)
    return journal, state


async def test_the_executor_carries_it_out_and_gives_back_what_it_borrowed_whatever_that_is() -> None:
    SCALERS["outer"] = BEFORE
    journal, state = await carried_out()
    events = [e.event for e in journal.entries]
    assert [e.hold.written for e in events if isinstance(e, StepIntended) and e.hold] == [{"size": 7}]
    assert [e.step for e in events if isinstance(e, StepDone)] == [0]
    assert [e.outcome for e in events if isinstance(e, RunClosed)] == [PUT_BACK]
    assert SCALERS["outer"] == BEFORE
    codec = EventCodec((kind.step for kind in WITH_IT), MESSAGES)
    assert [codec.decode(codec.encode(event)) for event in events] == events
    assert state.run("r").closed is not None


def test_the_journal_knows_it_where_it_is_listed_and_nowhere_else() -> None:
    text = EventCodec((kind.step for kind in WITH_IT), MESSAGES).encode(OPENED)
    with pytest.raises(Unreadable, match="'set_scaler' is no kind of this version"):
        CODEC.decode(text)


async def test_a_new_leader_marks_what_it_touches_also_outside_the_cluster() -> None:
    marked: list[ObjectReference] = []

    async def mark(place: ObjectReference, value: str) -> None:  # noqa: ARG001 - the protocol's shape
        marked.append(place)

    owed = await borrowed()
    held = Run(replace(OPENED, plan=replace(PLAN, steps=())), compensations={"scaler": owed})
    for run in (Run(OPENED), held):
        marked.clear()
        touched = epoch_marker.touched_by(run, compensations_of(WITH_IT))
        assert SCALER in touched
        await epoch_marker.stamp({CLUSTER: mark, "scalers": mark}, touched, "epoch-2")
        assert set(marked) == touched
        with pytest.raises(GuardError, match="Nothing marks objects of scalers"):
            await epoch_marker.stamp({CLUSTER: mark}, touched, "epoch-2")


async def test_a_person_is_told_how_it_is_put_back_where_the_guard_may_not() -> None:
    owed = await borrowed()
    made = handlers_of([KIND], NOTHING)
    remedy = made.compensations[owed.kind].remedy(PLAN, owed)
    run = Run(OPENED, compensations={owed.id: owed})
    for told in (messages.not_given_back, messages.left_as_theirs):
        notice = told(run, HoldReleased(at(9), "r", owed.id, "it is read-only"), remedy)
        assert f"scaler set {BEFORE}" in notice.text
        assert notice.facts["remedy"] == f"scaler set {BEFORE}"
        assert "kubectl" not in notice.text


async def borrowed() -> Any:
    SCALERS["outer"] = BEFORE
    seen = await KIND.handler(None).observe(STEP, Run(OPENED))  # type: ignore[arg-type] # it asks for nothing
    return seen.borrows  # type: ignore[union-attr] # `Before`


async def test_its_blob_is_kept_while_its_run_is_open() -> None:
    state = JournalState(MemoryJournal(), FakeClock())
    await state.decide(run_stream("r"), OPENED)
    assert "digest-of-settings" in state.releases_to_keep(LedgerPolicy())


def test_its_rights_are_asked_for_and_the_plan_tells_of_it() -> None:
    assert PLAN.rights == [Right("get", "", "secrets", "default", "outer")]
    assert PLAN.lines == ["let scaler outer ask for 7"]


@pytest.mark.parametrize(("replicas", "theirs"), [(3, False), (7, False), (5, True)])
def test_the_size_that_it_claims_is_nobody_elses(replicas: int, theirs: bool) -> None:
    run = Run(replace(OPENED, plan=replace(PLAN, autoscaled=False)))
    found = external_workload_change(run, Workload(deployment(replicas=replicas)))
    assert (found is not None) is theirs


def test_its_deadline_is_its_own() -> None:
    run = Run(OPENED, started=at(0))
    decided = runs.next(run, Before("not set"), at(400), STEP.deadline)
    assert isinstance(decided, runs.Commit)
    assert "NotMadeInTime(detail='not set'" in str(decided)


@pytest.mark.parametrize("question", sorted(Step.__abstractmethods__))
def test_a_step_that_leaves_a_question_open_cannot_be_made(question: str) -> None:
    answers = {name: None for name in Step.__abstractmethods__ if name != question}
    unfinished = type("Unfinished", (Step,), answers)
    with pytest.raises(TypeError, match=question):
        unfinished()


def test_a_step_that_borrows_what_none_gives_back_is_refused_at_the_start() -> None:
    with pytest.raises(TypeError, match="set_scaler borrows scaler, which no step gives back"):
        compensations_of([*KINDS, replace(KIND, compensates=None)])
    with pytest.raises(TypeError, match="two steps give back the same"):
        compensations_of([*WITH_IT, KIND])


def test_a_handler_that_cannot_do_what_its_row_says_is_refused_at_the_start() -> None:
    assert KIND.compensates is not None
    makes = replace(KIND.compensates, owner=lambda _: "")
    with pytest.raises(TypeError, match="cannot give back scaler, as its row says: it is no Compensator"):
        handlers_of([replace(KIND, handler=lambda _: NOTHING)], NOTHING)
    with pytest.raises(TypeError, match="cannot give back scaler, as its row says: it is no Creator"):
        handlers_of([replace(KIND, compensates=makes)], NOTHING)
