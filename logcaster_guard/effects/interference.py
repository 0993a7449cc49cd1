"""Recognises that somebody else is at work on the target: then theirs wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import PinAutoscaler, Plan, RestoreTemplate, ScaleProduction
from logcaster_guard.domain.workload import Workload


def foreign(run: Run, workload: Workload | None, service: Mapping[str, Any] | None) -> str | None:
    """What somebody else changed of the things that the plan rests on, as a sentence; None if nothing.

    Someone else's change is one of the workload (see `foreign_workload`), or of its Service's selector.
    """
    plan = run.opened.plan
    theirs = foreign_workload(run, workload)
    if theirs is None and plan.selector is not None and selector_of(service) != plan.selector:
        return f"Somebody changed the selector of Service {plan.namespace}/{plan.service}."
    return theirs


def foreign_workload(run: Run, workload: Workload | None) -> str | None:
    """What somebody else changed of the workload, as a sentence; None if nothing.

    That is: it is gone, re-created, being deleted or paused; its template is neither the bad nor the good release, or
    the good one before the run put it there; its replica count is none that the run, or an autoscaler, made it.
    """
    plan = run.opened.plan
    name = f"{plan.namespace}/{plan.deployment}"
    if workload is None:
        return f"{plan.kind} {name} was deleted."
    if workload.uid != plan.uid:
        return f"{plan.kind} {name} was deleted and created again."
    if workload.deleting:
        return f"{plan.kind} {name} is being deleted."
    if workload.paused:
        return f"{plan.kind} {name} was paused."
    if workload.hash not in {plan.from_template, plan.to_template}:
        return f"Somebody rolled out another release of {name} ({', '.join(workload.images)})."
    if plan.strategy == "gradual" and workload.hash == plan.to_template and not _template_is_due(run):
        return f"Somebody rolled the good release of {name} out already."
    sizes = _sizes(run)
    if workload.replicas not in sizes and (_pins(plan) or not plan.autoscaled):
        return f"Somebody scaled {name} from {min(sizes)} to {workload.replicas}."
    return None


def selector_of(service: Mapping[str, Any] | None) -> dict[str, str] | None:
    """A Service's selector; None if there is no Service."""
    return None if service is None else dict((service.get("spec") or {}).get("selector") or {})


def _template_is_due(run: Run) -> bool:
    steps = run.opened.plan.steps
    return any(isinstance(s, RestoreTemplate) for s in steps[: run.step + 1])


def _pins(plan: Plan) -> bool:
    return any(isinstance(s, PinAutoscaler) for s in plan.steps)


def _sizes(run: Run) -> set[int]:
    """The replica counts that are the run's own now: what it wrote last, what it writes next, what it pinned."""
    plan = run.opened.plan
    size: int = plan.replicas
    pinned: int | None = None
    for step in plan.steps[: run.step]:
        match step:
            case ScaleProduction(replicas=written):
                size = written
            case PinAutoscaler(size=bound):
                pinned = bound
    found = {size} if pinned is None else {size, pinned}
    match run.present:
        case ScaleProduction(replicas=due) | PinAutoscaler(size=due):
            found.add(due)
    return found
