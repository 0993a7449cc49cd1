"""Step handlers that move the Service to the other environment, and see whether that was for the better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from logcaster_guard.domain import capacity, field_owners
from logcaster_guard.domain.description import pods as so_many_pods
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.field_owners import written_by
from logcaster_guard.domain.observations import Before, Done, Failed, Foreign, Observation, Unclear
from logcaster_guard.domain.runs import ABANDONED, DESTINATION_BAD, FAILED, INCONCLUSIVE, Run
from logcaster_guard.domain.signals import Value
from logcaster_guard.domain.steps import AwaitEndpoints, Hold, JudgeEnvironment, SwitchService
from logcaster_guard.effects.handing_back import FieldOwnership
from logcaster_guard.effects.inspection import Inspector
from logcaster_guard.effects.interference import selector_of
from logcaster_guard.effects.judging import said
from logcaster_guard.effects.looking import live_of, own_pods, service_of, undisturbed, workload_of
from logcaster_guard.ports import Clock, Cluster, Json, Kind

SELECTOR: Final = "selector"
SERVICE_NAME = "kubernetes.io/service-name"
SHORT = 5.0
"""Seconds for which the new environment may be short of pods before the Service is switched back."""


class SwitchServiceHandler:
    """Writes one label of the Service's selector; as the lender, writes it back if the new environment is worse."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: SwitchService, run: Run) -> Observation:
        """Done when the selector names the new environment, whoever wrote it."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            service = await service_of(self._cluster, run)
            if theirs is not None or workload is None or service is None:
                return Foreign(theirs or "the other environment is gone")
            ready = sum(capacity.is_serving(p, None) for p in await own_pods(self._cluster, workload))
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if selector_of(service) == _switched(run, step):
            return Done(f"the Service selects {step.label}={step.after}")
        floor = run.opened.plan.floor
        if ready < floor:
            return Unclear(f"{ready} pods of the other environment are Ready, and the floor is {floor}")
        name, uid = service["metadata"]["name"], service["metadata"]["uid"]
        owners = field_owners.owners_of(service, field_owners.SELECTOR)
        known = run.holds.get(SELECTOR)
        hold = known or Hold(SELECTOR, SELECTOR, name, uid, None, written=0, owners=owners)
        return Before(f"the Service selects {step.label}={step.before}", borrows=hold)

    async def apply(self, step: SwitchService, run: Run) -> None:
        """One request, bound to the resourceVersion of a Service that still has the selector of the plan."""
        theirs, _, _ = await undisturbed(self._cluster, run)
        if theirs is None:
            await self._write(run, shown=run.opened.plan.selector, label=step.label, value=step.after)

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """It stays switched, unless the new environment proved worse, or is empty, and the one before it can serve."""
        try:
            seen = await self._to_be_switched_back(hold, run)
            service = await service_of(self._cluster, run)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if not isinstance(seen, Done):
            return seen
        if service is not None and self._fields.due(service, hold, field_owners.SELECTOR):
            return Before(f"{seen.detail}, and the selector is the guard's field")
        return seen

    async def _to_be_switched_back(self, hold: Hold, run: Run) -> Observation:
        """`Before` if it is, `Done` if the selector is as it is to stay. Raises the `ClusterError` it met."""
        step = _step(run)
        service, live = await service_of(self._cluster, run), await live_of(self._cluster, run)
        pods = [] if live is None else await own_pods(self._cluster, live)
        empty = await self._is_empty(run)
        if service is None or service["metadata"]["uid"] != hold.uid:
            return Foreign("the Service is another one")
        if selector_of(service) == run.opened.plan.selector:
            return Done(f"the Service selects {step.label}={step.before}")
        if selector_of(service) != _switched(run, step):
            who = written_by(service, field_owners.SELECTOR, since=run.opened.at)
            return Foreign(f"somebody else changed the Service's selector{who}")
        outcome = "" if run.ending is None else run.ending.outcome
        if outcome != DESTINATION_BAD and not (empty and outcome in {ABANDONED, FAILED, INCONCLUSIVE}):
            return Done(f"the Service stays with {step.label}={step.after}")
        ready = sum(capacity.is_serving(p, run.opened.plan.selector) for p in pods)
        if live is None or live.hash != run.opened.plan.from_template or ready < run.opened.plan.floor:
            return Foreign(f"the environment before could not serve any more: {so_many_pods(ready)} Ready")
        return Before(f"the Service selects {step.label}={step.after}")

    async def _is_empty(self, run: Run) -> bool:
        """Whether the Service's requests would reach nobody in the new environment."""
        workload = await workload_of(self._cluster, run)
        if workload is None or workload.deleting:
            return True
        return not any(capacity.is_serving(p, None) for p in await own_pods(self._cluster, workload))

    async def release(self, hold: Hold, run: Run) -> None:
        """Write the label back, or hand the field back where the selector is as it is to stay."""
        step, seen = _step(run), await self._to_be_switched_back(hold, run)
        service = await service_of(self._cluster, run)
        if isinstance(seen, Done) and service is not None:
            await self._fields.hand_back(service, hold, field_owners.SELECTOR)
        elif isinstance(seen, Before):
            await self._write(run, shown=_switched(run, step), label=step.label, value=step.before)

    async def _write(self, run: Run, *, shown: dict[str, str] | None, label: str, value: str) -> None:
        service = await service_of(self._cluster, run)
        if service is None or selector_of(service) != shown:
            return
        metadata = service["metadata"]
        patch: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "replace", "path": f"/spec/selector/{_pointer(label)}", "value": value},
        ]
        await self._cluster.json_patch(Kind.SERVICE, run.opened.plan.namespace, metadata["name"], patch)


class AwaitEndpointsHandler:
    """Waits until the Service's requests can only reach the new environment."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def observe(self, step: AwaitEndpoints, run: Run) -> Observation:
        """Done when the EndpointSlices list nobody else's pods, and enough of them are ready."""
        plan = run.opened.plan
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            if theirs is not None or workload is None:
                return Foreign(theirs or "the Deployment is gone")
            pods = await own_pods(self._cluster, workload)
            slices = await self._cluster.list(Kind.ENDPOINT_SLICE, plan.namespace, f"{SERVICE_NAME}={plan.service}")
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        own = {p["metadata"]["uid"] for p in pods}
        listed = _ready_pods(slices)
        others = sorted(name for uid, name in listed.items() if uid not in own)
        if others:
            return Before(f"the Service still lists {len(others)} pods of the environment before, such as {others[0]}")
        text = f"the Service lists {len(listed)} pods of {workload.name} and no other"
        return Done(text) if len(listed) >= min(step.least, plan.floor or 1) else Before(text)

    async def apply(self, step: AwaitEndpoints, run: Run) -> None:
        """Nothing to do: the EndpointSlice controller does it."""


@dataclass(slots=True)
class _Watched:
    """Monotonic seconds: when the judgement began, since when pods are missing."""

    began: float
    short: float | None = None


class JudgeEnvironmentHandler:
    """Sees whether the environment that took over is worse; the wait begins anew with a new guard."""

    def __init__(self, cluster: Cluster, clock: Clock, inspector: Inspector) -> None:
        self._cluster = cluster
        self._clock = clock
        self._inspector = inspector
        self._watched: dict[str, _Watched] = {}

    async def observe(self, step: JudgeEnvironment, run: Run) -> Observation:
        """Done when it is no worse, or when it cannot be told; failed when its pods go, or its error rate is worse."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            if theirs is not None or workload is None:
                return Foreign(theirs or "the Deployment is gone")
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        now = self._clock.monotonic()
        watched = self._watched.setdefault(run.id, _Watched(now))
        ready, floor = sum(capacity.is_serving(p, None) for p in pods), run.opened.plan.floor
        if ready < floor:
            watched.short = now if watched.short is None else watched.short
            text = f"{ready} pods of {workload.name} are Ready, and {floor} are needed"
            if now - watched.short >= min(SHORT, step.wait):
                return Failed(DESTINATION_BAD, f"the other environment does not stay up: {text}")
            return Before(text, overdue=(DESTINATION_BAD, text))
        watched.short = None
        due = max(step.wait, step.window)
        if now - watched.began < due:
            return Before(f"judged in {due - (now - watched.began):.0f} s")
        seen = await self._inspector(run.opened.target, workload.name, step.window)
        rate, requests = seen.error_rate, seen.requests
        if not isinstance(rate, Value) or not isinstance(requests, Value) or requests.number < step.min_requests:
            return Done(f"whether it is worse cannot be told: {said(seen)}")
        if rate.number > max(step.threshold, step.baseline or 0.0):
            before = "unknown" if step.baseline is None else f"{step.baseline:.2%}"
            return Failed(DESTINATION_BAD, f"the other environment is worse: {said(seen)}, before: {before}")
        return Done(said(seen))

    async def apply(self, step: JudgeEnvironment, run: Run) -> None:
        """Nothing to do: judging has no effect."""


def _step(run: Run) -> SwitchService:
    return next(s for s in run.opened.plan.steps if isinstance(s, SwitchService))


def _switched(run: Run, step: SwitchService) -> dict[str, str]:
    return {**(run.opened.plan.selector or {}), step.label: step.after}


def _ready_pods(slices: Sequence[Json]) -> dict[str, str]:
    """The names of the pods that are listed as ready, by uid."""
    found = {}
    for endpoint in (e for s in slices for e in s.get("endpoints") or []):
        reference = endpoint.get("targetRef") or {}
        # An endpoint that does not say so is ready, by the API's convention.
        if reference.get("kind") == "Pod" and (endpoint.get("conditions") or {}).get("ready") is not False:
            found[str(reference.get("uid"))] = str(reference.get("name"))
    return found


def _pointer(key: str) -> str:
    """A key as a part of an RFC 6901 pointer."""
    return key.replace("~", "~0").replace("/", "~1")
