"""Immediate rollback: the good release replaces the bad one by the Deployment's own rolling update."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.steps import Plan, Step
from logcaster_guard.domain.workload import DAEMON_SET, STATEFUL_SET, Workload
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.delete_stuck_pods import DeleteStuckPods
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.verify_recovery import VerifyRecovery

SCALED_OBJECT = "scaledobject.keda.sh/name"
"""KEDA's own label on an autoscaler that it makes."""


def plan(
    workload: Workload,
    destination: Record,
    *,
    rule: Rule,
    policy: Policy,
    service: Mapping[str, Any] | None,
    autoscalers: Sequence[Mapping[str, Any]],
) -> Plan | NotApplicable:
    """The plan that takes `workload` to `destination`, or why a new template would not reach its pods.

    `service` and `autoscalers` are raw objects as the API gives them; autoscalers of other workloads are ignored. An
    autoscaler's minimum is raised to the present size first, so that it cannot shrink a service whose pods idle because
    they fail; not one of KEDA's, which would put it back within seconds.
    """
    idle = _not_updating(workload)
    if idle is not None:
        return NotApplicable((idle,))
    mine = [a for a in autoscalers if scales(a, workload)]
    verify = policy.verify
    steps: list[Step] = [
        *_raised_minimums([a for a in mine if scaled_object(a) is None], workload.replicas),
        RestoreTemplate(release=destination.blob),
        *([DeleteStuckPods(timeout=policy.rollout.timeout)] if workload.kind == STATEFUL_SET else []),
        AwaitRollout(timeout=policy.rollout.timeout),
        VerifyRecovery(rule=rule.name, stable_for=verify.stable_for, timeout=verify.timeout),
    ]
    return Plan(
        strategy="immediate",
        namespace=workload.namespace,
        deployment=workload.name,
        uid=workload.uid,
        from_template=workload.hash,
        to_template=destination.template,
        from_images=workload.images,
        to_images=destination.images,
        replicas=workload.replicas,
        autoscaled=bool(mine) or workload.kind == DAEMON_SET,
        service=None if service is None else str(service["metadata"]["name"]),
        selector=None if service is None else dict((service.get("spec") or {}).get("selector") or {}),
        steps=tuple(steps),
        kind=workload.kind,
    )


def _raised_minimums(autoscalers: Sequence[Mapping[str, Any]], replicas: int) -> Iterable[RaiseAutoscalerMinimum]:
    for autoscaler in autoscalers:
        metadata, spec = autoscaler["metadata"], autoscaler["spec"]
        wanted = min(replicas, int(spec["maxReplicas"]))
        if wanted > int(spec.get("minReplicas") or 1):
            yield RaiseAutoscalerMinimum(autoscaler=metadata["name"], uid=metadata["uid"], minimum=wanted)


def _not_updating(workload: Workload) -> str | None:
    """Why its controller would not bring every pod to a new template; None if it does."""
    strategy = workload.raw["spec"].get("updateStrategy") or {}
    name = f"{workload.kind} {workload.namespace}/{workload.name}"
    if strategy.get("type") == "OnDelete":
        return f"{name} replaces its pods only when they are deleted (OnDelete): set RollingUpdate."
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        return f"{name} has the partition {partition}, below which no pod would change: set it to 0."
    return None


def scales(autoscaler: Mapping[str, Any], workload: Workload) -> bool:
    """Whether this HorizontalPodAutoscaler owns the workload's replica count."""
    reference = autoscaler["spec"].get("scaleTargetRef") or {}
    return reference.get("kind") == workload.kind and reference.get("name") == workload.name


def scaled_object(autoscaler: Mapping[str, Any]) -> str | None:
    """The ScaledObject from which KEDA makes this autoscaler, whose bounds it keeps as they are there; else None."""
    return (autoscaler["metadata"].get("labels") or {}).get(SCALED_OBJECT)
