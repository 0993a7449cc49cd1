"""Recognises that somebody else is at work on the target: then theirs wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from logcaster_guard.domain import field_owners, provenance
from logcaster_guard.domain.field_owners import released_by, written_by
from logcaster_guard.domain.inbox.annotations import FREEZE
from logcaster_guard.domain.inbox.freezes import freeze_on
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Field, Plan, Step
from logcaster_guard.domain.theirs import (
    AnotherReleaseOut,
    GoodReleaseOut,
    SelectorChanged,
    ServiceDeleted,
    WorkloadBeingDeleted,
    WorkloadDeleted,
    WorkloadFrozen,
    WorkloadMadeAnew,
    WorkloadPaused,
    WorkloadScaled,
)
from logcaster_guard.domain.workload import Workload


def external_change(run: Run, workload: Workload | None, service: Mapping[str, Any] | None) -> Message | None:
    """What somebody else changed of the things that the plan rests on; None if nothing.

    Someone else's change is one of the workload (see `foreign_workload`), or of its Service's selector.
    """
    plan = run.opened.plan
    theirs = external_workload_change(run, workload)
    if theirs is None and plan.selector is not None and selector_of(service) not in _selectors(plan.selector, run):
        if service is None:
            return ServiceDeleted(f"{plan.namespace}/{plan.service}")
        who = written_by(service, field_owners.SELECTOR, since=run.opened.at)
        return SelectorChanged(f"{plan.namespace}/{plan.service}", who)
    return theirs


def external_workload_change(run: Run, workload: Workload | None) -> Message | None:
    """What somebody else changed of the workload; None if nothing.

    That is: it is gone, re-created, being deleted, paused or frozen; its template is neither the bad nor the good
    release, or the good one before the run put it there; its replica count is none that the run, or an autoscaler, made
    it.
    """
    plan = run.opened.plan
    name = f"{plan.namespace}/{plan.deployment}"
    if workload is None:
        return None if _is_to_be_made(run) else WorkloadDeleted(f"{plan.kind} {name}")
    if (plan.uid and workload.uid != plan.uid) or _replaces_the_runs_own(run, workload):
        return WorkloadMadeAnew(f"{plan.kind} {name}")
    if workload.deleting:
        return WorkloadBeingDeleted(f"{plan.kind} {name}")
    theirs = _paused_or_frozen(run, workload) or _another_release(run, workload, *_planned(run))
    if theirs is not None:
        return theirs
    if _leaves_nothing_to_do(run) and workload.hash == plan.to_template:
        who = released_by(workload.raw, since=run.opened.at)
        return GoodReleaseOut(name, who)
    sizes = _sizes(run)
    if workload.replicas not in sizes and (_pins(plan) or not plan.autoscaled):
        who = written_by(workload.raw, field_owners.REPLICAS, since=run.opened.at)
        return WorkloadScaled(name, min(sizes), workload.replicas, who)
    return None


def changed(run: Run, workload: Workload) -> bool:
    """Whether somebody else has changed what the run made: another release or a pause, or a size of their own.

    An autoscaler whose bounds have been given back sizes it too: then a size is nobody's word.
    """
    plan = run.opened.plan
    if workload.paused or workload.hash not in {plan.from_template, plan.to_template}:
        return True
    return not plan.autoscaled and workload.replicas not in _sizes(run)


def external_live_change(run: Run, live: Workload | None) -> Message | None:
    """What somebody else changed of the environment that the Service is to leave; None if nothing.

    Once the Service has left it, it is nobody's destination and theirs to change; but a freeze that somebody has just
    put there is still meant for the target.
    """
    plan = run.opened.plan
    if not plan.live:
        return None
    if run.switched:
        return None if live is None or live.uid != plan.live_uid else _frozen(run, live)
    name = f"{plan.namespace}/{plan.live}"
    if live is None or live.deleting or live.uid != plan.live_uid:
        return WorkloadDeleted(f"{plan.kind} {name}")
    return _paused_or_frozen(run, live) or _another_release(run, live, plan.from_template)


def _paused_or_frozen(run: Run, workload: Workload) -> Message | None:
    if workload.paused:
        who = written_by(workload.raw, field_owners.PAUSED, since=run.opened.at)
        return WorkloadPaused(f"{workload.kind} {workload.namespace}/{workload.name}", who)
    return _frozen(run, workload)


def _frozen(run: Run, workload: Workload) -> Message | None:
    reason = freeze_on(workload.annotations)
    # A freeze while people are asked is their answer to the question.
    if reason is None or run.asks is not None:
        return None
    who = written_by(workload.raw, ("metadata", "annotations", FREEZE), since=run.opened.at)
    return WorkloadFrozen(f"{workload.namespace}/{workload.name}", reason[:200], who)


def _planned(run: Run) -> Sequence[str]:
    """The releases that the workload may carry now: as it was planned from, or as the run makes it."""
    plan = run.opened.plan
    due = any(_claimed(s, Field.OTHER_TEMPLATE) for s in plan.steps[run.step :])
    return (plan.from_template, plan.to_template, *([plan.good.template] if due else []))


def _another_release(run: Run, workload: Workload, *planned: str) -> Message | None:
    if workload.hash in planned:
        return None
    who = released_by(workload.raw, since=run.opened.at)
    return AnotherReleaseOut(f"{workload.namespace}/{workload.name}", workload.images, who)


def _claimed(step: Step, *fields: Field) -> list[Any]:
    """The values that the step writes into any of these fields."""
    return [claim.value for claim in step.claims if claim.field in fields]


def _selectors(planned: dict[str, str], run: Run) -> list[dict[str, str]]:
    """The selectors that the Service may have now: as it was planned from, or as the run switches it."""
    for index, step in enumerate(run.opened.plan.steps):
        for labels in _claimed(step, Field.SELECTOR):
            if run.step >= index:
                switched = {**planned, **labels}
                return [planned, switched] if run.step == index else [switched]
    return [planned]


def _replaces_the_runs_own(run: Run, workload: Workload) -> bool:
    """Whether the run has made the workload, and this is another one of that name.

    Without a token, in a journal of an earlier version, nobody can tell.
    """
    made = any(_claimed(s, Field.EXISTENCE) for s in run.opened.plan.steps[: run.step])
    own = (owed for owed in run.taken.values() if owed.token and owed.object == workload.name)
    return made and any(provenance.disowned(workload.raw, owed) is not None for owed in own)


def _is_to_be_made(run: Run) -> bool:
    return any(_claimed(s, Field.EXISTENCE) for s in run.opened.plan.steps[run.step :])


def selector_of(service: Mapping[str, Any] | None) -> dict[str, str] | None:
    """A Service's selector; None if there is no Service."""
    return None if service is None else dict((service.get("spec") or {}).get("selector") or {})


def _leaves_nothing_to_do(run: Run) -> bool:
    """Whether the good release in production would be somebody else's work, and the steps to come would undo it."""
    plan = run.opened.plan
    due = any(_claimed(s, Field.TEMPLATE) for s in plan.steps[: run.step + 1])
    resizes = any(_claimed(s, Field.SIZE) for s in plan.steps)
    return not due and (resizes or run.asks is not None) and not plan.live and plan.from_template != plan.to_template


def _pins(plan: Plan) -> bool:
    return any(_claimed(s, Field.AUTOSCALED_SIZE) for s in plan.steps)


def _sizes(run: Run) -> set[int]:
    """The replica counts that are the run's own now: what it wrote last, what it writes next, what it pinned."""
    plan = run.opened.plan
    size: int = plan.replicas
    pinned: int | None = None
    for step in plan.steps[: run.step]:
        size = next(iter(_claimed(step, Field.SIZE)), size)
        pinned = next(iter(_claimed(step, Field.AUTOSCALED_SIZE)), pinned)
    found = {size} if pinned is None else {size, pinned}
    if run.present is not None:
        found.update(_claimed(run.present, Field.SIZE, Field.AUTOSCALED_SIZE))
    return found
