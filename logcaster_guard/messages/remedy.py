"""How a person puts back what a run has borrowed and may not give back itself."""

from __future__ import annotations

import json

from logcaster_guard.domain.gitops import MARK, owner_called
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Hold


def by_hand(run: Run, hold: Hold) -> str:
    """The command that puts it back; for a GitOps owner its own."""
    plan, name = run.opened.plan, hold.object
    kubectl = f"kubectl -n {plan.namespace}"
    match hold.kind:
        case "gitops_owner":
            owner = owner_called(name)
            return f"put back what its annotation {MARK} tells" if owner is None else owner.resuming
        case "helper" | "environment":
            return f"{kubectl} delete deployment {name}"
        case "selector":
            return _patch(kubectl, "service", name, {"selector": plan.selector})
        case "autoscaler_minimum":
            return _patch(kubectl, "hpa", name, {"minReplicas": hold.original})
        case "autoscaler_bounds":
            return _patch(kubectl, "hpa", name, {"minReplicas": hold.original, "maxReplicas": hold.original_maximum})
        case _:
            return f"{kubectl} scale {plan.kind.lower()} {name} --replicas {hold.original or 0}"


def _patch(kubectl: str, kind: str, name: str, spec: object) -> str:
    return f"{kubectl} patch {kind} {name} --type merge -p '{json.dumps({'spec': spec})}'"
