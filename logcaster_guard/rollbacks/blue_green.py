"""Blue-green rollback: the Service goes back to the other environment, which carries a good release and is ready.

Nothing that serves is changed before the other environment is proven: it exists, carries a good release, has as many
Ready pods as the live one, and each of them answers its health check.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from logcaster_guard import saved_snapshots
from logcaster_guard.domain import capacity
from logcaster_guard.domain import planning_reasons as plans
from logcaster_guard.domain.errors import BlobMissing
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import Action, Policy
from logcaster_guard.domain.signals import Target, Value
from logcaster_guard.domain.snapshots import Snapshot, SnapshotUnreadable
from logcaster_guard.domain.steps import Plan, Step
from logcaster_guard.domain.workload import Workload, template_hash
from logcaster_guard.ports import Blobs, Kind
from logcaster_guard.rollbacks import config_restores, standby_configuration
from logcaster_guard.rollbacks.autoscaling import scaled_object, scales
from logcaster_guard.rollbacks.config_restores import ConfigFacts
from logcaster_guard.rollbacks.not_applicable import NotApplicable, unjudged
from logcaster_guard.rollbacks.standby_configuration import StandbyConfiguration
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request, WayBack
from logcaster_guard.steps.await_endpoints import AwaitEndpoints
from logcaster_guard.steps.await_environment import AwaitEnvironment
from logcaster_guard.steps.check_environment import CheckEnvironment
from logcaster_guard.steps.judge_environment import JudgeEnvironment
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.restore_environment import RestoreEnvironment
from logcaster_guard.steps.roll_environment import RollEnvironment
from logcaster_guard.steps.scale_environment import ScaleEnvironment
from logcaster_guard.steps.step_services import Inspection
from logcaster_guard.steps.switch_service import SwitchService

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the switch rests on: raw objects as the API gives them, and what was saved and measured.

    `other` is the Deployment that is not live, None if it is missing; `pods` are the namespace's; `snapshots` are those
    of the good releases by digest, where `other` is missing; `inspected` is how the live environment's pods fared.
    `judged`: the other environment must be one that can be judged apart from the live one.
    """

    request: Request
    service: Json | None
    other: Workload | None
    autoscalers: Sequence[Json]
    pods: Sequence[Json]
    snapshots: Mapping[str, Snapshot]
    inspected: Inspection
    judged: bool = True
    configuration: ConfigFacts = field(default_factory=ConfigFacts)


async def gather(request: Request, ports: PlanningPorts) -> Facts | NotApplicable:
    """Look at it now. Raises `ClusterError`."""
    target, live = request.target, request.workload
    if not target.environments:
        return NotApplicable((plans.NoEnvironments(target.key),))
    found = await ports.found(Kind.DEPLOYMENT, target.namespace, other_of(target, live.name))
    other = None if found is None else Workload(found)
    return Facts(
        request=request,
        service=await ports.service(target),
        other=other,
        autoscalers=await ports.cluster.list(Kind.AUTOSCALER, target.namespace),
        pods=await ports.cluster.list(Kind.POD, target.namespace),
        snapshots={} if other is not None else await _snapshots(ports.blobs, request.destinations),
        inspected=await ports.inspect(target.key, live.name, request.policy.blue_green.window),
        configuration=await _configuration(request, other, ports),
    )


async def _configuration(request: Request, other: Workload | None, ports: PlanningPorts) -> ConfigFacts:
    """What the release that the other environment carries, or would be made from, was kept with."""
    record = request.destination if other is None else _carried(other, request.destinations)
    if record is None:
        return ConfigFacts()
    template = (await ports.release(record)).template if other is None else other.template
    return await config_restores.gather(request, record, template, ports)


def _carried(other: Workload, destinations: Iterable[Record]) -> Record | None:
    return next((r for r in destinations if r.template == other.hash), None)


async def _snapshots(blobs: Blobs, destinations: Iterable[Record]) -> Mapping[str, Snapshot]:
    found = {}
    for digest in {r.snapshot for r in destinations if r.snapshot}:
        with contextlib.suppress(BlobMissing, SnapshotUnreadable):
            found[digest] = await saved_snapshots.load(blobs, digest)
    return found


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


def plan(facts: Facts) -> Plan | NotApplicable:
    """The plan that takes the Service from the live to the other environment, or every reason why it cannot be done."""
    target, live, service = facts.request.target, facts.request.workload, facts.service
    if facts.judged and facts.inspected.inseparable is not None:
        return unjudged(facts.inspected.inseparable)
    other = other_of(target, live.name)
    selector = dict(((service or {}).get("spec") or {}).get("selector") or {})
    if other is None or service is None or target.live(selector) != live.name:
        return NotApplicable((plans.SendsElsewhere(f"{target.namespace}/{target.service}", live.name),))
    found = _destination(other, facts)
    if isinstance(found, NotApplicable):
        return found
    after = next(value for value, name in target.environments.items() if name == other)
    pods = [] if found.snapshot else _own(found.workload, facts.pods)
    prepared = standby_configuration.prepared(
        facts.request, facts.configuration, found.workload.template, pods, _seed(facts, found.workload)
    )
    if isinstance(prepared, NotApplicable):
        return prepared
    reasons = _unfit(target, found.workload, live, {**selector, target.environment_label: after}, facts)
    if reasons:
        return NotApplicable(tuple(reasons))
    serving = capacity.serving(facts.pods, selector, None)
    return Plan(
        strategy=WAY.strategy,
        namespace=live.namespace,
        deployment=other,
        uid="" if found.snapshot else found.workload.uid,
        from_template=live.hash,
        to_template=prepared.template if prepared.copied else found.record.template,
        from_images=live.images,
        to_images=found.workload.images,
        replicas=live.replicas if found.snapshot else found.workload.replicas,
        autoscaled=any(scales(a, found.workload) for a in facts.autoscalers),
        service=str(service["metadata"]["name"]),
        selector=selector,
        steps=tuple(_steps(facts, found, prepared, selector, after)),
        floor=min(live.replicas, serving),
        live=live.name,
        live_uid=live.uid,
        to_configuration="" if prepared.copied or not prepared.restored.complete else found.record.configuration,
        unrestored=prepared.restored.unrestored,
        stands_for=found.record.release.key if prepared.copied else "",
    )


def _seed(facts: Facts, other: Workload) -> str:
    """What the names of copies are made from: the same until the environment is changed, or the Service.

    Whoever has agreed to a plan has agreed to the same one.
    """
    around = facts.request.workload if facts.other is None else other
    service = "" if facts.service is None else facts.service["metadata"].get("resourceVersion")
    return f"{service}/{around.uid}/{around.generation}"


def _own(workload: Workload, pods: Sequence[Json]) -> list[Json]:
    wanted = (workload.raw["spec"].get("selector") or {}).get("matchLabels") or {}
    return [p for p in pods if capacity.selects(wanted, capacity.labels_of(p))]


def _destination(other: str, facts: Facts) -> _Destination | NotApplicable:
    """What the other environment carries, if that is good; for a missing one, what a snapshot shows of it."""
    target, destinations = facts.request.target, facts.request.destinations
    name = f"{target.namespace}/{other}"
    if facts.other is not None:
        carried = _carried(facts.other, destinations)
        if carried is None:
            return NotApplicable((plans.OtherNotGood(name, facts.other.images),))
        return _Destination(carried, facts.other, snapshot="")
    for record in destinations:
        snapshot = facts.snapshots.get(record.snapshot)
        manifest = None if snapshot is None else snapshot.find("Deployment", other)
        if manifest is not None and template_hash(manifest["spec"]["template"]) == record.template:
            return _Destination(record, Workload(manifest), snapshot=record.snapshot)
    return NotApplicable((plans.OtherMissing(name),))


def _unfit(target: Target, other: Workload, live: Workload, selector: Mapping[str, str], facts: Facts) -> list[Message]:
    name, found = other.key, list[Message]()
    if live.replicas == 0:
        found.append(plans.NoReplicas(live.full_name, shift=False))
    if other.paused or other.deleting:
        found.append(plans.OtherAtWork(name, other.paused))
    if not capacity.selects(selector, capacity.labels_of(other.template)):
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
        found.append(plans.OtherUnselected(name, wanted, str(target.service)))
    for autoscaler in (a for a in facts.autoscalers if scales(a, other)):
        called, most = str(autoscaler["metadata"]["name"]), int(autoscaler["spec"]["maxReplicas"])
        if most < live.replicas:
            found.append(plans.AutoscalerTooSmall(called, name, most, live.replicas))
        owner, least = scaled_object(autoscaler), int(autoscaler["spec"].get("minReplicas") or 1)
        if owner is not None and least < live.replicas:
            found.append(plans.AutoscalerMayShrink(called, name, least, live.replicas, owner))
    return found


def _steps(
    facts: Facts, found: _Destination, prepared: StandbyConfiguration, selector: Mapping[str, str], after: str
) -> list[Step]:
    target, policy = facts.request.target, facts.request.policy
    size, other, timeout = facts.request.workload.replicas, found.workload, policy.rollout.timeout
    # No pod may start, nor any be added, before what it reads is there.
    steps: list[Step] = [*prepared.first, *prepared.copied]
    if found.snapshot:
        steps.append(RestoreEnvironment(snapshot=found.snapshot, replicas=size))
    elif prepared.replaced:
        steps.append(RollEnvironment(restart=not prepared.copied))
        if other.replicas < size:
            # A rollout that is scaled up in the middle starts pods of its old template as well.
            steps.append(AwaitEnvironment(replicas=other.replicas, timeout=timeout))
    if not found.snapshot and other.replicas < size:
        # Before its autoscaler does it: what is taken last is given back first, and no autoscaler may undo that.
        steps.append(ScaleEnvironment(replicas=size))
    for autoscaler in (a for a in facts.autoscalers if scales(a, other)):
        if size > int(autoscaler["spec"].get("minReplicas") or 1):
            metadata = autoscaler["metadata"]
            steps.append(RaiseAutoscalerMinimum(autoscaler=metadata["name"], uid=metadata["uid"], minimum=size))
    steps.append(AwaitEnvironment(replicas=size, timeout=timeout))
    if target.health_url is not None:
        steps.append(CheckEnvironment(health_url=target.health_url, timeout=timeout))
    label = target.environment_label
    return [
        *steps,
        *prepared.later,
        SwitchService(label=label, before=selector[label], after=after),
        AwaitEndpoints(least=size, timeout=timeout),
        *([] if facts.inspected.inseparable is not None else [_judgement(policy, facts.inspected)]),
    ]


def _judgement(policy: Policy, live: Inspection) -> JudgeEnvironment:
    judged, rate, requests = policy.blue_green, live.error_rate, live.requests
    enough = isinstance(requests, Value) and requests.number >= judged.min_requests
    return JudgeEnvironment(
        wait=judged.wait,
        window=judged.window,
        threshold=judged.threshold,
        baseline=rate.number if enough and isinstance(rate, Value) else None,
        min_requests=judged.min_requests,
        timeout=max(judged.wait, judged.window) + policy.rollout.timeout,
    )


WAY = WayBack(Action.BLUE_GREEN, gather, plan, take_over=None, otherwise=lambda policy: policy.blue_green.otherwise)
