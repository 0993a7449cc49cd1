"""How something that a run has borrowed is put back: what each kind of it answers for itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.reasons import SetNumberBack
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Compensation, ObjectReference, Plan


@dataclass(frozen=True, slots=True)
class Remedy:
    """How a person puts back what the guard may not: `action`, a sentence without its full stop, by `command`."""

    action: Reason
    command: str


@dataclass(frozen=True, slots=True)
class CompensationKind:
    """A kind of thing that runs borrow, with all that others ask of it; `name` is its name in the journal.

    `touches` are the objects that putting it back changes. `remedy` is how a person does it. `stood_in_for` tells
    whether something carries what is missing until it is back, and goes only then: a refusal does not end that run's
    attempts. `owner` is for a Deployment that the run makes: the uid of the workload it belongs to, empty for none;
    None for what is not made. Nothing has a default, so that no kind leaves a question open.
    """

    name: str
    touches: Callable[[Plan, Compensation], Sequence[ObjectReference]]
    remedy: Callable[[Plan, Compensation], Remedy]
    stood_in_for: Callable[[Run], bool]
    owner: Callable[[Plan], str] | None


def by_nothing(run: Run) -> bool:  # noqa: ARG001 - the shape of `CompensationKind.stood_in_for`
    """Nothing carries what is missing."""
    return False


def set_back(owed: Compensation, command: str) -> Remedy:
    """The remedy for a number that the guard has changed."""
    original = "unset" if owed.original is None else str(owed.original)
    return Remedy(SetNumberBack(owed.kind, owed.object, str(owed.written), original), command)


def scaling(plan: Plan, owed: Compensation) -> str:
    """The command that gives the plan's workload its size back."""
    return f"{_kubectl(plan)} scale {plan.kind.lower()} {owed.object} --replicas {owed.original or 0}"


def patching(plan: Plan, kind: str, name: str, spec: Any) -> str:  # noqa: ANN401 - any JSON
    """The command that writes these fields of an object's spec."""
    return f"{_kubectl(plan)} patch {kind} {name} --type merge -p '{json.dumps({'spec': spec})}'"


def deleting(plan: Plan, name: str, kind: str = "Deployment") -> str:
    """The command that deletes an object of this kind."""
    return f"{_kubectl(plan)} delete {kind.lower()} {name}"


def undoing(plan: Plan, name: str) -> str:
    """The command that gives a Deployment the template back that it had before."""
    return f"{_kubectl(plan)} rollout undo deployment {name}"


def editing(plan: Plan, name: str, kind: str) -> str:
    """The command that opens an object of this kind in an editor."""
    return f"{_kubectl(plan)} edit {kind.lower()} {name}"


def _kubectl(plan: Plan) -> str:
    return f"kubectl -n {plan.namespace}"
