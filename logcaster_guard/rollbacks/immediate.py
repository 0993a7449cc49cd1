"""Immediate rollback: the good release replaces the bad one by the Deployment's own rolling update."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from logcaster_guard.domain.planning_reasons import Partitioned, ReplacedOnDelete
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.steps import Plan, Step
from logcaster_guard.domain.workload import DAEMON_SET, STATEFUL_SET, Workload
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks import blue_green, config_restores
from logcaster_guard.rollbacks.autoscaling import scaled_object, scales
from logcaster_guard.rollbacks.config_restores import ConfigFacts, Restores
from logcaster_guard.rollbacks.fitness import another_selector, deselected, unfit_release
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request, WayBack, only_told
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.delete_stuck_pods import DeleteStuckPods
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.restore_template import RestoreTemplate, TemplateWrite


@dataclass(frozen=True, slots=True)
class Facts:
    """What it rests on: the destination as it was saved, and raw objects as the API gives them.

    Autoscalers of other workloads are ignored. `configuration` is what the destination's pods read of it.
    """

    request: Request
    release: Release
    service: Mapping[str, Any] | None
    autoscalers: Sequence[Mapping[str, Any]]
    configuration: ConfigFacts = field(default_factory=ConfigFacts)


AnyFacts = Facts | blue_green.Facts
"""Where the good release is the other environment's, the quickest way is the switch to that, judged or not."""


async def gather(request: Request, ports: PlanningPorts) -> AnyFacts | NotApplicable:
    """Look at it now. Raises `ClusterError` and `BlobMissing`."""
    release = await ports.release(request.destination)
    if request.target.environments and another_selector(request.workload, release) is not None:
        seen = await blue_green.gather(request, ports)
        return replace(seen, judged=False) if isinstance(seen, blue_green.Facts) else seen
    return await in_place(request, release, ports)


async def in_place(request: Request, release: Release, ports: PlanningPorts) -> Facts:
    """What a rolling update of the workload rests on. Raises `ClusterError`."""
    service = await ports.service(request.target)
    autoscalers = await ports.cluster.list(Kind.AUTOSCALER, request.target.namespace)
    configuration = await config_restores.gather(request, request.destination, release.template, ports)
    return Facts(request, release, service, autoscalers, configuration)


def plan(facts: AnyFacts) -> Plan | NotApplicable:
    """The plan that takes the workload to the good release, or why a new template would not reach its pods."""
    if isinstance(facts, blue_green.Facts):
        return blue_green.plan(facts)
    workload, destination = facts.request.workload, facts.request.destination
    unfit = unfit_release(workload, facts.release) or deselected(workload, facts.release, facts.service)
    restored = config_restores.restores(facts.request, facts.configuration)
    if unfit is not None:
        return unfit
    if isinstance(restored, NotApplicable):
        return restored
    restart = config_restores.restarts(workload, facts.release, facts.configuration, restored=bool(restored.steps))
    rolled = rolling_update(facts, RestoreTemplate(destination.blob, restart), restored)
    if isinstance(rolled, NotApplicable):
        return rolled
    configuration = destination.configuration if restored.complete else ""
    return replace(
        rolled, to_template=destination.template, to_images=destination.images, to_configuration=configuration
    )


def rolling_update(facts: Facts, write: TemplateWrite, restored: Restores) -> Plan | NotApplicable:
    """The plan that rolls out what `write` puts into the workload; the caller says which release that is.

    Configuration is put back first, so that no pod of the good release starts on another one. An autoscaler's minimum
    is raised to the present size then, so that it cannot shrink a service whose pods idle because they fail; not one of
    KEDA's, which would put it back within seconds.
    """
    service, workload = facts.service, facts.request.workload
    not_updating = _not_updating(workload)
    if not_updating is not None:
        return not_updating
    mine = [a for a in facts.autoscalers if scales(a, workload)]
    timeout = facts.request.policy.rollout.timeout
    steps: list[Step] = [
        *restored.steps,
        *_raised_minimums([a for a in mine if scaled_object(a) is None], workload.replicas),
        write,
        *([DeleteStuckPods(timeout=timeout)] if workload.kind == STATEFUL_SET else []),
        AwaitRollout(timeout=timeout),
    ]
    return Plan(
        strategy=WAY.strategy,
        namespace=workload.namespace,
        deployment=workload.name,
        uid=workload.uid,
        from_template=workload.hash,
        to_template=workload.hash,
        from_images=workload.images,
        to_images=workload.images,
        replicas=workload.replicas,
        autoscaled=bool(mine) or workload.kind == DAEMON_SET,
        service=None if service is None else str(service["metadata"]["name"]),
        selector=None if service is None else dict((service.get("spec") or {}).get("selector") or {}),
        steps=tuple(steps),
        kind=workload.kind,
        unrestored=restored.unrestored,
    )


def _raised_minimums(autoscalers: Sequence[Mapping[str, Any]], replicas: int) -> Iterable[RaiseAutoscalerMinimum]:
    for autoscaler in autoscalers:
        metadata, spec = autoscaler["metadata"], autoscaler["spec"]
        wanted = min(replicas, int(spec["maxReplicas"]))
        if wanted > int(spec.get("minReplicas") or 1):
            yield RaiseAutoscalerMinimum(autoscaler=metadata["name"], uid=metadata["uid"], minimum=wanted)


def _not_updating(workload: Workload) -> NotApplicable | None:
    """Why its controller would not bring every pod to a new template; None if it does."""
    strategy = workload.raw["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return NotApplicable((ReplacedOnDelete(workload.full_name),))
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        return NotApplicable((Partitioned(workload.full_name, int(partition)),))
    return None


WAY = WayBack(Action.IMMEDIATE, gather, plan, take_over=None, otherwise=only_told)
