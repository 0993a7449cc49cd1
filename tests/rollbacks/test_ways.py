"""Every way back is a look through ports, and a plain function of the frozen facts that it answers with."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from logcaster_guard import ports
from logcaster_guard.domain.rules import Action, Policy
from logcaster_guard.domain.steps import Plan, Purpose
from logcaster_guard.rollbacks.composition import composed
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request, WayBack
from logcaster_guard.rollbacks.ways import WAYS
from logcaster_guard.steps.ask_people import AskPeople
from logcaster_guard.steps.suspend_owner import SuspendOwner
from logcaster_guard.steps.verify_recovery import VerifyRecovery
from tests.rollbacks.test_gradual import NOW

way_backs = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.action)


def test_every_action_that_writes_is_one_way_back() -> None:
    assert sorted(way.action for way in WAYS) == sorted(set(Action) - {Action.ALERT_ONLY})
    assert len({way.strategy for way in WAYS}) == len(WAYS)


def parts(kind: Any, seen: set[Any]) -> Iterator[Any]:
    """Every type that a value of this one can hold."""
    if kind in seen:
        return
    seen.add(kind)
    for argument in get_args(kind):
        yield from parts(argument, seen)
    if is_dataclass(kind):
        yield kind
        for hint in (get_type_hints(kind)[field.name] for field in fields(kind)):
            yield from parts(hint, seen)
    elif isinstance(kind, type):
        yield kind


def choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)


@way_backs
def test_a_plan_is_a_plain_function_of_frozen_facts(way: WayBack) -> None:
    assert not inspect.iscoroutinefunction(way.plan)
    assert not inspect.isgeneratorfunction(way.plan)
    [parameter] = inspect.signature(way.plan).parameters
    facts = choices(get_type_hints(way.plan)[parameter])
    for kind in facts:
        assert is_dataclass(kind)
        assert get_type_hints(kind)["request"] is Request
    held = {kind for fact in facts for kind in parts(fact, set())}
    assert [k for k in held if is_dataclass(k) and not vars(k)["__dataclass_params__"].frozen] == []
    # What has a coroutine could look again: a port, or whatever else does I/O.
    assert [k for k in held if any(inspect.iscoroutinefunction(m) for m in vars(k).values())] == []
    assert [k for k in held if k.__module__ == ports.__name__] == []


@way_backs
def test_a_look_is_given_ports_and_answers_with_those_facts(way: WayBack) -> None:
    assert inspect.iscoroutinefunction(way.gather)
    hints = get_type_hints(way.gather)
    answers = hints.pop("return")
    assert list(hints.values()) == [Request, PlanningPorts]
    [taken] = {name: hint for name, hint in get_type_hints(way.plan).items() if name != "return"}.values()
    assert set(choices(answers)) - {NotApplicable} == set(choices(taken))


@way_backs
def test_what_is_done_where_it_does_not_apply_is_another_way_back_or_an_alert(way: WayBack) -> None:
    assert way.otherwise(Policy()) in {Action.IMMEDIATE, Action.ALERT_ONLY} - {way.action}


SUSPEND = SuspendOwner("Kustomization flux-system/web", "u", "main@1", "")
VERIFY = VerifyRecovery("high_error_rate", 300.0, 1_200.0)


@pytest.mark.parametrize("asks", [False, True])
def test_a_whole_plan_changes_nothing_before_people_agreed_and_ends_with_its_verification(*, asks: bool) -> None:
    [way] = (w for w in WAYS if w.action is (Action.ALERT_THEN if asks else Action.IMMEDIATE))
    planned = way.plan(NOW)
    assert isinstance(planned, Plan)
    whole = composed(planned, before=[SUSPEND], verification=[VERIFY])
    assert [type(s) for s in whole.steps[: 1 + asks]] == [*([AskPeople] if asks else []), SuspendOwner]
    assert [s for s in whole.steps if s.purpose is Purpose.VERIFICATION] == [whole.steps[-1]] == [VERIFY]
    assert [s for s in whole.steps if s not in {SUSPEND, VERIFY}] == list(planned.steps)
    assert not any(s.purpose is Purpose.VERIFICATION for s in planned.steps)
