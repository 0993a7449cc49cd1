"""Gradual rollback: the good release takes over a share of the pods at a time, in a helper Deployment.

Shares: helper = ceil(N·p), production = ceil(N·(1 - p)), so that there are never fewer pods than N. In the end
production itself carries the good template, at its full size, and the helper is gone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from logcaster_guard.domain import capacity
from logcaster_guard.domain import planning_reasons as plans
from logcaster_guard.domain.configuration_reasons import ConfigNothingDiffers
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import Action, GradualPolicy
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Value
from logcaster_guard.domain.steps import Plan, Step
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks import config_restores, immediate
from logcaster_guard.rollbacks.autoscaling import scaled_object, scales
from logcaster_guard.rollbacks.config_restores import ConfigFacts, Restores, copying
from logcaster_guard.rollbacks.fitness import unfit_release
from logcaster_guard.rollbacks.not_applicable import NotApplicable, unjudged
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request, WayBack
from logcaster_guard.steps.await_helper import AwaitHelper
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.await_stopped import AwaitStopped
from logcaster_guard.steps.create_helper import CreateHelper
from logcaster_guard.steps.judge_helper import JudgeHelper
from logcaster_guard.steps.pin_autoscaler import PinAutoscaler
from logcaster_guard.steps.remove_helper import RemoveHelper
from logcaster_guard.steps.restore_object import RestoreObject
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.scale_helper import ScaleHelper
from logcaster_guard.steps.scale_production import ScaleProduction
from logcaster_guard.steps.step_services import Inspection

Json = Mapping[str, Any]
VERSION = "version"
ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Facts:
    """What it rests on: the destination as it was saved, and raw objects as the API gives them.

    `service` is None if there is none; `pods` are the namespace's; `claims` are the volume claims that the destination
    names, None where one could not be found. `namesake` is the Deployment that has the helper's name already, None if
    there is none. `inspected` is how the target's pods fared, by the window in seconds.
    """

    request: Request
    release: Release
    service: Json | None
    autoscalers: Sequence[Json]
    pods: Sequence[Json]
    budgets: Sequence[dict[str, Any]]
    claims: Mapping[str, Json | None]
    namesake: Json | None
    inspected: Mapping[float, Inspection]
    configuration: ConfigFacts = field(default_factory=ConfigFacts)


async def gather(request: Request, ports: PlanningPorts) -> Facts | NotApplicable:
    """Look at it now. Raises `ClusterError` and `BlobMissing`."""
    target, policy, cluster = request.target, request.policy.gradual, ports.cluster
    namespace = target.namespace
    if target.environments:
        return NotApplicable((plans.SwitchesEnvironments(f"{namespace}/{target.service}"),))
    release = await ports.release(request.destination)
    # A step may be held for enough requests: the busier of the two windows counts.
    windows = [w for w in (policy.window, policy.hold) if w]
    volumes = (release.template.get("spec") or {}).get("volumes") or []
    claims = [v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")]
    return Facts(
        request=request,
        release=release,
        service=await ports.service(target),
        autoscalers=await cluster.list(Kind.AUTOSCALER, namespace),
        pods=await cluster.list(Kind.POD, namespace),
        budgets=list(await cluster.list(Kind.DISRUPTION_BUDGET, namespace)),
        claims={name: await ports.found(Kind.VOLUME_CLAIM, namespace, name) for name in claims},
        namesake=await ports.found(Kind.DEPLOYMENT, namespace, capacity.helper_name(target.deployment)),
        inspected={w: await ports.inspect(target.key, request.workload.name, w) for w in windows},
        configuration=await config_restores.gather(request, request.destination, release.template, ports),
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """How many pods the helper and production have at one step."""

    helper: int
    production: int

    @property
    def share(self) -> float:
        """The helper's real share of the pods."""
        return self.helper / (self.helper + self.production)


def stages(size: int, shares: Sequence[float]) -> list[Stage]:
    """The steps for `size` pods; those that come to the same are one."""
    found: list[Stage] = []
    for share in shares:
        # 0.1 is a little more than a tenth: 10 · 0.1 must not become 2.
        stage = Stage(math.ceil(size * share - 1e-9), math.ceil(size * (1 - share) - 1e-9))
        if not found or stage != found[-1]:
            found.append(stage)
    return found


def plan(facts: Facts) -> Plan | NotApplicable:
    """The plan that takes the workload to the good release step by step, or every reason why it cannot be done so."""
    request, workload = facts.request, facts.request.workload
    unfit = unfit_release(workload, facts.release)
    if unfit is not None:
        return unfit
    for seen in facts.inspected.values():
        if seen.inseparable is not None:
            return unjudged(seen.inseparable)
    restored = _restored(request, facts.configuration)
    if isinstance(restored, NotApplicable):
        return restored
    reasons = _unfit(workload, facts)
    if reasons or facts.service is None:
        return NotApplicable(tuple(reasons))
    selector, destination = dict((facts.service.get("spec") or {}).get("selector") or {}), request.destination
    mine = [a for a in facts.autoscalers if scales(a, workload)]
    serving = capacity.serving(_own(workload, facts.pods), selector, None)
    planned = Plan(
        strategy=WAY.strategy,
        namespace=workload.namespace,
        deployment=workload.name,
        uid=workload.uid,
        from_template=workload.hash,
        to_template=destination.template,
        from_images=workload.images,
        to_images=destination.images,
        replicas=workload.replicas,
        autoscaled=bool(mine),
        service=str(facts.service["metadata"]["name"]),
        selector=selector,
        steps=tuple(_steps(request, selector, autoscalers=mine, restored=restored.steps)),
        size=workload.replicas,
        floor=min(workload.replicas, serving),
        to_configuration=destination.configuration if restored.complete else "",
        unrestored=restored.unrestored,
    )
    return _unprovable(planned, facts) or planned


def _restored(request: Request, configuration: ConfigFacts) -> Restores | NotApplicable:
    """What is put back, or why that, or nothing but that, is no matter for a helper."""
    restored = config_restores.restores(request, configuration)
    if isinstance(restored, NotApplicable):
        return restored
    if restored.steps:
        return config_restores.read_by_name(configuration.differing) or restored
    if request.destination.template == request.workload.hash:
        return NotApplicable((ConfigNothingDiffers(request.workload.full_name, request.destination.name),))
    return restored


def _unprovable(planned: Plan, facts: Facts) -> NotApplicable | None:
    """Why no step of the plan would prove anything at the present traffic; None if it may, or nobody knows."""
    rates = [s.requests.number / w for w, s in facts.inspected.items() if isinstance(s.requests, Value)]
    if not rates:
        return None
    first, rate = next(step for step in planned.steps if isinstance(step, JudgeHelper)), max(rates)
    expected = rate * first.share * first.window
    if expected >= first.min_requests:
        return None
    name, told = facts.request.workload.full_name, float(f"{rate:.3g}")
    return NotApplicable(
        (plans.TooLittleTraffic(name, told, first.share, round(expected), first.window, first.min_requests),)
    )


def take_over(old: Run, request: Request) -> Plan:
    """The immediate plan from wherever `old`, a gradual run, stands; its compensations are handed over with it.

    Where that was to put configuration back, this does so first, and goes where it went: what another release's pods
    read has not been looked at. Pods that may have read the other configuration are replaced.
    """
    before, workload, destination = old.opened.plan, request.workload, request.destination
    restores = [step for step in before.steps if isinstance(step, RestoreObject)]
    if restores:
        onto, blob = before, next(step.release for step in before.steps if isinstance(step, RestoreTemplate))
    else:
        blob, images = destination.blob, destination.images
        onto = replace(
            before, to_template=destination.template, to_images=images, to_configuration=destination.configuration
        )
    pinned = old.borrowed(PinAutoscaler.borrows)
    helpers = old.borrowed(CreateHelper.borrows)
    steps: list[Step] = [
        *restores,
        RestoreTemplate(release=blob, restart=bool(restores)),
        *(PinAutoscaler(autoscaler=h.object, uid=h.uid, size=before.full_size) for h in pinned),
        ScaleProduction(replicas=before.full_size),
        AwaitRollout(timeout=request.policy.rollout.timeout),
        *(RemoveHelper(helper=h.object) for h in helpers),
    ]
    return replace(
        onto,
        strategy=immediate.WAY.strategy,
        from_template=workload.hash,
        from_images=workload.images,
        replicas=workload.replicas,
        steps=tuple(steps),
    )


def _steps(
    request: Request, selector: Mapping[str, str], *, autoscalers: Sequence[Json], restored: Sequence[RestoreObject]
) -> list[Step]:
    """Pods of the good release that start beside the bad ones read copies of what is put back once those are gone."""
    policy, destination, size = request.policy, request.destination, request.workload.replicas
    helper, timeout = capacity.helper_name(request.workload.name), policy.rollout.timeout
    all_stages = stages(size, policy.gradual.steps)

    def pinned(to: int) -> list[Step]:
        names = [a["metadata"] for a in autoscalers]
        return [PinAutoscaler(autoscaler=m["name"], uid=m["uid"], size=to) for m in names]

    steps: list[Step] = [*pinned(size), *(copying(r.object_kind, r.name, r.manifest) for r in restored)]
    before = Stage(0, size)
    for stage in all_stages:
        if before.helper == 0:
            labels = {**selector, VERSION: ROLLBACK}
            steps.append(CreateHelper(helper, destination.blob, stage.helper, labels))
        elif stage.helper != before.helper:
            steps.append(ScaleHelper(helper=helper, replicas=stage.helper))
        steps.append(AwaitHelper(helper=helper, replicas=stage.helper, timeout=timeout))
        if before.helper == 0 and autoscalers:
            # An autoscaler that is pinned to fewer pods scales by itself: its size is borrowed before that.
            steps.append(ScaleProduction(replicas=size))
        if stage.production != before.production:
            # An autoscaler leaves a target with 0 pods alone, and cannot be told to want 0.
            steps += pinned(stage.production) if stage.production else []
            steps.append(ScaleProduction(replicas=stage.production))
        steps.append(_judgement(helper, stage, policy.gradual))
        before = stage
    return [
        *steps,
        *([AwaitStopped(timeout=timeout), *restored] if restored else []),
        RestoreTemplate(release=destination.blob),
        *pinned(size),
        ScaleProduction(replicas=size),
        AwaitRollout(timeout=timeout),
        RemoveHelper(helper=helper),
    ]


def _judgement(helper: str, stage: Stage, policy: GradualPolicy) -> JudgeHelper:
    return JudgeHelper(
        helper=helper,
        share=stage.share,
        wait=policy.wait,
        window=policy.window,
        threshold=policy.threshold,
        min_requests=policy.min_requests,
        timeout=max(policy.wait, policy.window) + policy.hold,
    )


def _unfit(workload: Workload, facts: Facts) -> list[Message]:
    name = workload.full_name
    if workload.kind != "Deployment":
        return [plans.NotADeployment(name)]
    found = list[Message]()
    if (workload.raw["spec"].get("strategy") or {}).get("type") == "Recreate":
        found.append(plans.Recreates(name))
    if workload.replicas == 0:
        found.append(plans.NoReplicas(name, shift=True))
    return [
        *found,
        *_unshareable(name, facts),
        *_unselectable(name, workload, facts),
        *_unaffordable(workload, facts),
        *_unheld(workload, facts),
        *_unnamed(workload, facts),
    ]


def _unshareable(name: str, facts: Facts) -> list[Message]:
    spec = facts.release.template.get("spec") or {}
    found: list[Message] = [
        plans.ClaimUnshareable(name, claim) for claim, raw in facts.claims.items() if raw is None or not _shared(raw)
    ]
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    ports = {int(p["hostPort"]) for c in containers for p in c.get("ports") or [] if p.get("hostPort")}
    if ports or spec.get("hostNetwork"):
        found.append(plans.NodeUnshareable(name, 0 if spec.get("hostNetwork") else min(ports)))
    return found


def _shared(claim: Json) -> bool:
    modes = set((claim.get("spec") or {}).get("accessModes") or [])
    return bool(modes) and modes <= {"ReadWriteMany", "ReadOnlyMany"}


def _unselectable(name: str, workload: Workload, facts: Facts) -> list[Message]:
    if facts.service is None:
        return [plans.NoService(name)]
    selector = (facts.service.get("spec") or {}).get("selector") or {}
    service = str(facts.service["metadata"]["name"])
    if not selector:
        return [plans.SelectsNothing(service)]
    if selector.get(VERSION, ROLLBACK) != ROLLBACK:
        return [plans.SelectsVersion(service, f"{VERSION}={selector[VERSION]}")]
    present, good = (
        capacity.selects(selector, capacity.labels_of(t)) for t in (workload.template, facts.release.template)
    )
    if present and good:
        return []
    return [plans.PodsUnselected(service, capacity.written(selector), not present, name)]


def _unaffordable(workload: Workload, facts: Facts) -> list[Message]:
    size = workload.replicas
    budgets = capacity.budgets_for(facts.budgets, capacity.labels_of(workload.template))
    return [
        plans.BudgetTooLarge(b["metadata"]["name"], wanted, size, workload.key)
        for b in budgets
        if (wanted := capacity.wanted_healthy(b, size)) > size
    ]


def _unheld(workload: Workload, facts: Facts) -> list[Message]:
    mine = [(a["metadata"]["name"], scaled_object(a)) for a in facts.autoscalers if scales(a, workload)]
    return [plans.KedaKeepsBounds(name, owner, workload.key) for name, owner in mine if owner is not None]


def _unnamed(workload: Workload, facts: Facts) -> list[Message]:
    # One that is being deleted already is waited for.
    if facts.namesake is None or "deletionTimestamp" in facts.namesake["metadata"]:
        return []
    return [plans.HelperNameTaken(f"{workload.namespace}/{capacity.helper_name(workload.name)}")]


def _own(workload: Workload, pods: Sequence[Json]) -> list[Json]:
    wanted = (workload.raw["spec"].get("selector") or {}).get("matchLabels") or {}
    return [p for p in pods if capacity.selects(wanted, capacity.labels_of(p))]


WAY = WayBack(Action.GRADUAL, gather, plan, take_over=take_over, otherwise=lambda policy: policy.gradual.otherwise)
