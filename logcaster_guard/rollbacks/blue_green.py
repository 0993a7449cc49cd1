"""Blue-green rollback: the Service goes back to the other environment, which carries a good release and is ready.

Nothing that serves is changed before the other environment is proven: it exists, carries a good release, has as many
Ready pods as the live one, and each of them answers its health check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logcaster_guard.domain import capacity
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.domain.steps import Plan, Step
from logcaster_guard.domain.workload import Workload, template_hash
from logcaster_guard.rollbacks.immediate import scaled_object, scales
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.steps.await_endpoints import AwaitEndpoints
from logcaster_guard.steps.await_environment import AwaitEnvironment
from logcaster_guard.steps.check_environment import CheckEnvironment
from logcaster_guard.steps.judge_environment import JudgeEnvironment
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.restore_environment import RestoreEnvironment
from logcaster_guard.steps.scale_environment import ScaleEnvironment
from logcaster_guard.steps.switch_service import SwitchService
from logcaster_guard.steps.verify_recovery import VerifyRecovery

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Environments:
    """Raw objects that a switch rests on.

    `other` is the Deployment that is not live, None if it is missing; `pods` are the namespace's; `snapshots` are those
    of the good releases by digest; `error_rate` is the live environment's (of 1), None if nobody knows; `inseparable`
    is why it cannot be read apart from the other's.
    """

    service: Json | None
    other: Workload | None
    autoscalers: Sequence[Json]
    pods: Sequence[Json]
    snapshots: Mapping[str, Snapshot]
    error_rate: float | None
    inseparable: str | None = None


@dataclass(frozen=True, slots=True)
class _Destination:
    """The environment that takes over: what it is, or what it is made from."""

    record: Record
    workload: Workload
    snapshot: str


def other_of(target: Target, live: str) -> str | None:
    """The Deployment of the environment that is not live; None if the live one is of no environment."""
    others = [name for name in target.environments.values() if name != live]
    return others[0] if len(others) == 1 else None


def plan(
    live: Workload, destinations: Sequence[Record], *, target: Target, rule: Rule, policy: Policy, around: Environments
) -> Plan | NotApplicable:
    """The plan that takes the Service from `live` to the other environment, or every reason why it cannot be done."""
    other = other_of(target, live.name)
    selector = dict(((around.service or {}).get("spec") or {}).get("selector") or {})
    if other is None or around.service is None or target.live(selector) != live.name:
        return NotApplicable(
            (f"Service {target.namespace}/{target.service} does not send its requests to {live.name}.",)
        )
    found = _destination(target, other, destinations, around)
    if isinstance(found, NotApplicable):
        return found
    after = next(value for value, name in target.environments.items() if name == other)
    reasons = _unfit(target, found.workload, live, {**selector, target.environment_label: after}, around)
    if reasons:
        return NotApplicable(tuple(reasons))
    serving = capacity.serving(around.pods, selector, None)
    return Plan(
        strategy="blue_green",
        namespace=live.namespace,
        deployment=other,
        uid="" if found.snapshot else found.workload.uid,
        from_template=live.hash,
        to_template=found.record.template,
        from_images=live.images,
        to_images=found.workload.images,
        replicas=live.replicas if found.snapshot else found.workload.replicas,
        autoscaled=any(scales(a, found.workload) for a in around.autoscalers),
        service=str(around.service["metadata"]["name"]),
        selector=selector,
        steps=tuple(_steps(live, found, selector, after, target=target, rule=rule, policy=policy, around=around)),
        floor=min(live.replicas, serving),
        live=live.name,
        live_uid=live.uid,
    )


def _destination(
    target: Target, other: str, destinations: Sequence[Record], around: Environments
) -> _Destination | NotApplicable:  # fmt: skip
    """What the other environment carries, if that is good; for a missing one, what a snapshot shows of it."""
    name = f"Deployment {target.namespace}/{other}"
    if around.other is not None:
        carried = next((r for r in destinations if r.template == around.other.hash), None)
        if carried is None:
            images = ", ".join(around.other.images)
            return NotApplicable(
                (f"{name} carries {images}, which is not known to be good: roll a good release out there.",)
            )
        return _Destination(carried, around.other, snapshot="")
    for record in destinations:
        snapshot = around.snapshots.get(record.snapshot)
        manifest = None if snapshot is None else snapshot.find("Deployment", other)
        if manifest is not None and template_hash(manifest["spec"]["template"]) == record.template:
            return _Destination(record, Workload(manifest), snapshot=record.snapshot)
    return NotApplicable((f"{name} is missing, and no snapshot shows it with a good release: create it again.",))


def _unfit(
    target: Target, other: Workload, live: Workload, selector: Mapping[str, str], around: Environments
) -> list[str]:
    name, found = f"Deployment {other.namespace}/{other.name}", []
    if live.replicas == 0:
        found.append(f"Deployment {live.namespace}/{live.name} has no replicas: there is nothing to take over.")
    if other.paused or other.deleting:
        found.append(f"{name} is {'paused' if other.paused else 'being deleted'}: somebody is at work on it.")
    if not capacity.selects(selector, capacity.labels_of(other.template)):
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
        found.append(f"The pods of {name} do not carry the labels {wanted} that Service {target.service} would select.")
    for autoscaler in (a for a in around.autoscalers if scales(a, other)):
        most = int(autoscaler["spec"]["maxReplicas"])
        if most < live.replicas:
            called = autoscaler["metadata"]["name"]
            found.append(f"Autoscaler {called} allows {name} {most} pods, and {live.replicas} are needed.")
        owner, least = scaled_object(autoscaler), int(autoscaler["spec"].get("minReplicas") or 1)
        if owner is not None and least < live.replicas:
            called = autoscaler["metadata"]["name"]
            found.append(
                f"Autoscaler {called} may shrink {name} to {least} pods while it idles, and {live.replicas} are "
                f"needed: raise the minimum in KEDA's ScaledObject {owner}, which puts back what is written here."
            )
    return found


def _steps(
    live: Workload,
    found: _Destination,
    selector: Mapping[str, str],
    after: str,
    *,
    target: Target,
    rule: Rule,
    policy: Policy,
    around: Environments,
) -> list[Step]:
    size, other, timeout = live.replicas, found.workload, policy.rollout.timeout
    steps: list[Step] = []
    if found.snapshot:
        steps.append(RestoreEnvironment(snapshot=found.snapshot, replicas=size))
    if not found.snapshot and other.replicas < size:
        # Before its autoscaler does it: what is taken last is given back first, and no autoscaler may undo that.
        steps.append(ScaleEnvironment(replicas=size))
    for autoscaler in (a for a in around.autoscalers if scales(a, other)):
        if size > int(autoscaler["spec"].get("minReplicas") or 1):
            metadata = autoscaler["metadata"]
            steps.append(RaiseAutoscalerMinimum(autoscaler=metadata["name"], uid=metadata["uid"], minimum=size))
    steps.append(AwaitEnvironment(replicas=size, timeout=timeout))
    if target.health_url is not None:
        steps.append(CheckEnvironment(health_url=target.health_url, timeout=timeout))
    label, verify = target.environment_label, policy.verify
    return [
        *steps,
        SwitchService(label=label, before=selector[label], after=after),
        AwaitEndpoints(least=size, timeout=timeout),
        *([] if around.inseparable is not None else [_judgement(policy, around.error_rate)]),
        VerifyRecovery(rule=rule.name, stable_for=verify.stable_for, timeout=verify.timeout),
    ]


def _judgement(policy: Policy, baseline: float | None) -> JudgeEnvironment:
    judged = policy.blue_green
    return JudgeEnvironment(
        wait=judged.wait,
        window=judged.window,
        threshold=judged.threshold,
        baseline=baseline,
        min_requests=judged.min_requests,
        timeout=max(judged.wait, judged.window) + policy.rollout.timeout,
    )
