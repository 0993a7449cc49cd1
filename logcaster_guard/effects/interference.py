"""Recognises that somebody else is at work on the target: then theirs wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload


def foreign(plan: Plan, workload: Workload | None, service: Mapping[str, Any] | None) -> str | None:
    """What somebody else changed of the things that the plan rests on, as a sentence; None if nothing.

    Someone else's change is one of the Deployment (see `foreign_workload`), or of its Service's selector.
    """
    theirs = foreign_workload(plan, workload)
    if theirs is None and plan.selector is not None and selector_of(service) != plan.selector:
        return f"Somebody changed the selector of Service {plan.namespace}/{plan.service}."
    return theirs


def foreign_workload(plan: Plan, workload: Workload | None) -> str | None:
    """What somebody else changed of the Deployment, as a sentence; None if nothing.

    That is: it is gone, re-created, being deleted or paused; its template is neither the bad nor the good release; its
    replica count changed though no autoscaler owns it.
    """
    name = f"{plan.namespace}/{plan.deployment}"
    if workload is None:
        return f"Deployment {name} was deleted."
    if workload.uid != plan.uid:
        return f"Deployment {name} was deleted and created again."
    if workload.deleting:
        return f"Deployment {name} is being deleted."
    if workload.paused:
        return f"Deployment {name} was paused."
    if workload.hash not in {plan.from_template, plan.to_template}:
        return f"Somebody rolled out another release of {name} ({', '.join(workload.images)})."
    if workload.replicas != plan.replicas and not plan.autoscaled:
        return f"Somebody scaled {name} from {plan.replicas} to {workload.replicas}."
    return None


def selector_of(service: Mapping[str, Any] | None) -> dict[str, str] | None:
    """A Service's selector; None if there is no Service."""
    return None if service is None else dict((service.get("spec") or {}).get("selector") or {})
