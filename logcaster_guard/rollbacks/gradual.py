"""Gradual rollback: the good release takes over a share of the pods at a time, in a helper Deployment.

Shares: helper = ceil(N·p), production = ceil(N·(1 - p)), so that there are never fewer pods than N. In the end
production itself carries the good template, at its full size, and the helper is gone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from logcaster_guard.domain import capacity
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import GradualPolicy, Policy, Rule
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Plan, Step
from logcaster_guard.domain.workload import Workload
from logcaster_guard.rollbacks.immediate import scaled_object, scales
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.steps.await_helper import AwaitHelper
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.create_helper import CreateHelper
from logcaster_guard.steps.judge_helper import JudgeHelper
from logcaster_guard.steps.pin_autoscaler import PinAutoscaler
from logcaster_guard.steps.remove_helper import RemoveHelper
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.scale_helper import ScaleHelper
from logcaster_guard.steps.scale_production import ScaleProduction
from logcaster_guard.steps.verify_recovery import VerifyRecovery

Json = Mapping[str, Any]
VERSION = "version"
ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Raw objects that a gradual rollback rests on.

    `service` is None if there is none; `pods` are the namespace's; `claims` are the volume claims that the template
    names, None where one could not be found; `release` is the destination. `namesake` is the Deployment that has the
    helper's name already, None if there is none.
    """

    service: Json | None
    autoscalers: Sequence[Json]
    pods: Sequence[Json]
    budgets: Sequence[dict[str, Any]]
    claims: Mapping[str, Json | None]
    release: Release
    namesake: Json | None = None


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


def plan(
    workload: Workload, destination: Record, *, rule: Rule, policy: Policy, around: Surroundings
) -> Plan | NotApplicable:  # fmt: skip
    """The plan that takes `workload` to `destination` step by step, or every reason why it cannot be done so."""
    reasons = _unfit(workload, around)
    if reasons or around.service is None:
        return NotApplicable(tuple(reasons))
    selector = dict((around.service.get("spec") or {}).get("selector") or {})
    helper = capacity.helper_name(workload.name)
    mine = [a for a in around.autoscalers if scales(a, workload)]
    serving = capacity.serving(_own(workload, around.pods), selector, None)
    return Plan(
        strategy="gradual",
        namespace=workload.namespace,
        deployment=workload.name,
        uid=workload.uid,
        from_template=workload.hash,
        to_template=destination.template,
        from_images=workload.images,
        to_images=destination.images,
        replicas=workload.replicas,
        autoscaled=bool(mine),
        service=str(around.service["metadata"]["name"]),
        selector=selector,
        steps=tuple(
            _steps(workload.replicas, helper, selector, destination, rule=rule, policy=policy, autoscalers=mine)
        ),
        size=workload.replicas,
        floor=min(workload.replicas, serving),
    )


def unprovable(planned: Plan, rate: float) -> NotApplicable | None:
    """Why no step of the plan would prove anything at so many requests per second; None if it may."""
    first = next(step for step in planned.steps if isinstance(step, JudgeHelper))
    expected = rate * first.share * first.window
    if expected >= first.min_requests:
        return None
    reason = (
        f"{planned.kind} {planned.namespace}/{planned.deployment} has {rate:.3g} requests per second: the first step, "
        f"{first.share:.0%} of the pods, would be judged by {expected:.0f} in {first.window:g} s, of at least "
        f"{first.min_requests} (gradual.min_requests). Lower that, or choose another action."
    )
    return NotApplicable((reason,))


def take_over(
    old: Run, workload: Workload, destination: Record, *, rule: Rule, policy: Policy
) -> Plan:  # fmt: skip
    """The immediate plan from wherever `old`, a gradual run, stands; its holds are handed over with it."""
    before = old.opened.plan
    pinned = old.borrowed(PinAutoscaler.borrows)
    helpers = old.borrowed(CreateHelper.borrows)
    verify = policy.verify
    steps: list[Step] = [
        RestoreTemplate(release=destination.blob),
        *(PinAutoscaler(autoscaler=h.object, uid=h.uid, size=before.full_size) for h in pinned),
        ScaleProduction(replicas=before.full_size),
        AwaitRollout(timeout=policy.rollout.timeout),
        *(RemoveHelper(helper=h.object) for h in helpers),
        VerifyRecovery(rule=rule.name, stable_for=verify.stable_for, timeout=verify.timeout),
    ]
    return replace(
        before,
        strategy="immediate",
        from_template=workload.hash,
        to_template=destination.template,
        from_images=workload.images,
        to_images=destination.images,
        replicas=workload.replicas,
        steps=tuple(steps),
    )


def _steps(
    size: int,
    helper: str,
    selector: Mapping[str, str],
    destination: Record,
    *,
    rule: Rule,
    policy: Policy,
    autoscalers: Sequence[Json],
) -> list[Step]:
    timeout, verify = policy.rollout.timeout, policy.verify
    all_stages = stages(size, policy.gradual.steps)

    def pinned(to: int) -> list[Step]:
        names = [a["metadata"] for a in autoscalers]
        return [PinAutoscaler(autoscaler=m["name"], uid=m["uid"], size=to) for m in names]

    steps: list[Step] = pinned(size)
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
        RestoreTemplate(release=destination.blob),
        *pinned(size),
        ScaleProduction(replicas=size),
        AwaitRollout(timeout=timeout),
        RemoveHelper(helper=helper),
        VerifyRecovery(rule=rule.name, stable_for=verify.stable_for, timeout=verify.timeout),
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


def _unfit(workload: Workload, around: Surroundings) -> list[str]:
    name = f"{workload.kind} {workload.namespace}/{workload.name}"
    if workload.kind != "Deployment":
        return [f"{name} is no Deployment: two releases of it cannot run side by side."]
    found = []
    if (workload.raw["spec"].get("strategy") or {}).get("type") == "Recreate":
        found.append(f"{name} has the strategy Recreate: two releases of it must not run side by side.")
    if workload.replicas == 0:
        found.append(f"{name} has no replicas: there is nothing to shift.")
    return [
        *found,
        *_unshareable(name, around),
        *_unselectable(name, workload, around),
        *_unaffordable(workload, around),
        *_unheld(workload, around),
        *_unnamed(workload, around),
    ]


def _unshareable(name: str, around: Surroundings) -> list[str]:
    spec = around.release.template.get("spec") or {}
    found = [
        f"{name} uses the volume claim {claim}, which one release alone may write."
        for claim, raw in around.claims.items()
        if raw is None or not _shared(raw)
    ]
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    ports = {p["hostPort"] for c in containers for p in c.get("ports") or [] if p.get("hostPort")}
    if ports or spec.get("hostNetwork"):
        which = "the network of its node" if spec.get("hostNetwork") else f"the host port {min(ports)}"
        found.append(f"{name} uses {which}, which two releases cannot share.")
    return found


def _shared(claim: Json) -> bool:
    modes = set((claim.get("spec") or {}).get("accessModes") or [])
    return bool(modes) and modes <= {"ReadWriteMany", "ReadOnlyMany"}


def _unselectable(name: str, workload: Workload, around: Surroundings) -> list[str]:
    if around.service is None:
        return [f"{name} has no Service that would send a share of its requests to the good release."]
    selector = (around.service.get("spec") or {}).get("selector") or {}
    service = f"Service {around.service['metadata']['name']}"
    if not selector:
        return [f"{service} selects nothing, so that it would send the good release no requests."]
    if selector.get(VERSION, ROLLBACK) != ROLLBACK:
        pinned = selector[VERSION]
        return [f"{service} selects {VERSION}={pinned}, so that it would send the good release no requests."]
    templates = {"present": workload.template, "good": around.release.template}
    missed = [w for w, t in templates.items() if not capacity.selects(selector, capacity.labels_of(t))]
    return [
        f"{service} selects {capacity.written(selector)}, which the pods of the {which} release of {name} do not "
        "carry: it would send them no requests once the helper is gone. Let the Service select them."
        for which in missed[:1]
    ]


def _unaffordable(workload: Workload, around: Surroundings) -> list[str]:
    budgets = capacity.budgets_for(around.budgets, capacity.labels_of(workload.template))
    return [
        f"Disruption budget {b['metadata']['name']} wants {capacity.wanted_healthy(b, workload.replicas)} healthy "
        f"pods, more than the {workload.replicas} of {workload.namespace}/{workload.name}."
        for b in budgets
        if capacity.wanted_healthy(b, workload.replicas) > workload.replicas
    ]


def _unheld(workload: Workload, around: Surroundings) -> list[str]:
    mine = [(a["metadata"]["name"], scaled_object(a)) for a in around.autoscalers if scales(a, workload)]
    return [
        f"Autoscaler {name} belongs to KEDA's ScaledObject {owner}, which puts its bounds back within seconds, so that "
        f"{workload.namespace}/{workload.name} could not be kept at the size of a step."
        for name, owner in mine
        if owner is not None
    ]


def _unnamed(workload: Workload, around: Surroundings) -> list[str]:
    # One that is being deleted already is waited for.
    if around.namesake is None or "deletionTimestamp" in around.namesake["metadata"]:
        return []
    name = f"{workload.namespace}/{capacity.helper_name(workload.name)}"
    return [f"There is a Deployment {name} already, where the helper would be: delete it, if nobody needs it."]


def _own(workload: Workload, pods: Sequence[Json]) -> list[Json]:
    wanted = (workload.raw["spec"].get("selector") or {}).get("matchLabels") or {}
    return [p for p in pods if capacity.selects(wanted, capacity.labels_of(p))]
