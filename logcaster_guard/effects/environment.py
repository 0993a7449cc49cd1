"""Step handlers of the environment that is to take over: it is there, has its pods, and answers.

Nothing here touches what serves. What was borrowed for it goes back unless the Service sends its requests there.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from logcaster_guard.domain import capacity, field_owners, provenance
from logcaster_guard.domain.description import wanted
from logcaster_guard.domain.errors import BlobMissing, ClusterError, Rejected
from logcaster_guard.domain.observations import Before, Done, Failed, Foreign, Observation, Unclear
from logcaster_guard.domain.provenance import MANAGED
from logcaster_guard.domain.runs import DESTINATION_BAD, FAILED, Run
from logcaster_guard.domain.signals import Value
from logcaster_guard.domain.snapshots import Snapshot, SnapshotUnreadable
from logcaster_guard.domain.startup import never_starts
from logcaster_guard.domain.steps import (
    AwaitEnvironment,
    CheckEnvironment,
    Hold,
    RestoreEnvironment,
    ScaleEnvironment,
    SwitchService,
)
from logcaster_guard.domain.workload import REVISION, Workload
from logcaster_guard.effects.handing_back import FieldOwnership
from logcaster_guard.effects.helper_deployment import restarts
from logcaster_guard.effects.inspection import Checker
from logcaster_guard.effects.interference import MADE, changed, foreign_workload, selector_of
from logcaster_guard.effects.looking import Selectors, own_pods, service_of, undisturbed, workload_of
from logcaster_guard.effects.sizing import scale
from logcaster_guard.ports import Blobs, Clock, Cluster, Json, Kind

SIZE: Final = "environment_size"
KEPT = ("labels", "annotations")


class RestoreEnvironmentHandler:
    """Creates the environment that is missing, as the snapshot shows it; as the lender, deletes what was in vain."""

    def __init__(self, cluster: Cluster, blobs: Blobs) -> None:
        self._cluster = cluster
        self._blobs = blobs

    async def observe(self, step: RestoreEnvironment, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when this run's Deployment is there; somebody else's is theirs."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        name = run.opened.plan.deployment
        if theirs is not None:
            return Foreign(theirs)
        if workload is None:
            known = run.taken.get(MADE)
            # A request that was sent before may still take effect: it carries the same token.
            return Before(f"there is no {name}", borrows=known if known and known.token else _hold(self._cluster, run))
        hold = run.taken.get(MADE)
        if hold is None or provenance.disowned(workload.raw, hold) is not None:
            return Foreign(f"Somebody created {name} again.")
        return Done(f"{name} is there")

    async def apply(self, step: RestoreEnvironment, run: Run) -> None:
        """One create; a name that is taken is a `Conflict`, which is looked at again."""
        plan = run.opened.plan
        try:
            shown = Snapshot.from_bytes(await self._blobs.get(step.snapshot)).find(plan.kind, plan.deployment)
        except (BlobMissing, SnapshotUnreadable) as error:
            raise Rejected(f"The snapshot cannot be read: {error}") from error
        if shown is None:
            raise Rejected(f"The snapshot does not show {plan.kind} {plan.deployment}.")
        await self._cluster.create(Kind.DEPLOYMENT, plan.namespace, manifest(shown, run.holds[MADE], step.replicas))

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """It stays where it serves, or where somebody has made it theirs; else it goes, as it was not there before."""

        def theirs(workload: Workload) -> bool:
            return provenance.disowned(workload.raw, hold) is not None or changed(run, workload)

        seen = await _given_back(self._cluster, run, theirs, "it is somebody else's")
        if isinstance(seen, Foreign) and not hold.token:
            return Failed(FAILED, f"Whether the run made {hold.object} cannot be told: {provenance.WITHOUT_TOKEN}.")
        return seen

    async def release(self, hold: Hold, run: Run) -> None:
        """Delete it in the foreground, with its pods."""
        workload = await workload_of(self._cluster, run)
        if workload is None or workload.deleting or provenance.disowned(workload.raw, hold) is not None:
            return
        await self._cluster.delete(
            Kind.DEPLOYMENT,
            workload.namespace,
            workload.name,
            uid=workload.uid,
            resource_version=workload.resource_version,
        )


class ScaleEnvironmentHandler:
    """Gives the other environment as many pods as the live one has."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: ScaleEnvironment, run: Run) -> Observation:
        """Done when that many pods are wanted."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if theirs is not None or workload is None:
            return Foreign(theirs or "the Deployment is gone")
        if workload.replicas >= step.replicas:
            return Done(wanted(workload.replicas))
        size = workload.replicas
        owners = field_owners.owners_of(workload.raw, field_owners.REPLICAS)
        hold = Hold(SIZE, SIZE, workload.name, workload.uid, original=size, written=step.replicas, owners=owners)
        return Before(wanted(size), borrows=run.holds.get(SIZE, hold))

    async def apply(self, step: ScaleEnvironment, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        workload = await workload_of(self._cluster, run)
        if workload is None or foreign_workload(run, workload) is not None or workload.replicas >= step.replicas:
            return
        await scale(self._cluster, workload, step.replicas)

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """It keeps its pods where it serves; else it gets its size back, unless somebody else gave it another one."""
        seen = await self._size_given_back(hold, run)
        if not isinstance(seen, Done):
            return seen
        try:
            workload = await workload_of(self._cluster, run)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if workload is not None and self._fields.due(workload.raw, hold, field_owners.REPLICAS):
            return Before(f"{seen.detail}, and its size is the guard's field")
        return seen

    async def _size_given_back(self, hold: Hold, run: Run) -> Observation:
        """`Before` if it is to be, `Done` if its size is as it is to stay."""
        ours = {hold.original, hold.written}
        seen = await _given_back(
            self._cluster, run, lambda w: w.uid != hold.uid or w.replicas not in ours, "its size is another one"
        )
        workload = await workload_of(self._cluster, run) if isinstance(seen, Before) else None
        back = workload is not None and workload.replicas == hold.original
        return Done(f"{hold.original} pods are wanted") if back else seen

    async def release(self, hold: Hold, run: Run) -> None:
        """Bring it to its size again, or hand the field back where the size is as it is to stay."""
        seen = await self._size_given_back(hold, run)
        workload = await workload_of(self._cluster, run)
        if workload is None or workload.uid != hold.uid:
            return
        if isinstance(seen, Done):
            await self._fields.hand_back(workload.raw, hold, field_owners.REPLICAS)
        elif isinstance(seen, Before) and workload.replicas == hold.written:
            await scale(self._cluster, workload, hold.original or 0)


class AwaitEnvironmentHandler:
    """Waits until the other environment could take all of the requests."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def observe(self, step: AwaitEnvironment, run: Run) -> Observation:
        """Done when enough pods are Ready, all of the good release; pods that crash show that the release is bad."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            if theirs is not None or workload is None:
                return Foreign(theirs or "the Deployment is gone")
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        ready = sum(capacity.is_serving(p, None) for p in pods)
        text = f"{ready} of {step.replicas} pods of {workload.name} are Ready{workload.refusal}"
        if ready >= step.replicas and workload.observed and workload.rolled_out:
            return Done(text)
        if ready >= step.replicas:
            text = f"{text}, but its controller has not brought the rollout to its end: {workload.progress}"
        said = never_starts(pods, self._clock.now(), lasted=run.lasted(self._clock.now()))
        if said is not None:
            return Failed(DESTINATION_BAD, f"the good release does not start: {said}")
        crashed = sum(restarts(p) > 0 for p in pods)
        if crashed:
            return Before(text, overdue=(DESTINATION_BAD, f"{text}, and {crashed} of them have crashed"))
        return Before(text, overdue=(FAILED, f"the other environment does not come up: {text}"))

    async def apply(self, step: AwaitEnvironment, run: Run) -> None:
        """Nothing to do: the Deployment controller does it."""


class CheckEnvironmentHandler:
    """Asks each pod of the other environment for its health, since the Service does not lead there yet."""

    def __init__(self, cluster: Cluster, check: Checker) -> None:
        self._cluster = cluster
        self._check = check

    async def observe(self, step: CheckEnvironment, run: Run) -> Observation:
        """Done when each of them answers well at one look; what the guard cannot ask is no answer."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            service = await service_of(self._cluster, run)
            if theirs is not None or workload is None or service is None:
                return Foreign(theirs or "the Deployment is gone")
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        ready = [p for p in pods if capacity.is_serving(p, None)]
        for pod in ready:
            name, url = pod["metadata"]["name"], pod_url(step.health_url, service, pod)
            answer = await self._check(run.opened.target, url)
            if not isinstance(answer, Value):
                return Unclear(f"pod {name} could not be asked at {url}: {answer.detail}")
            if answer.number:
                text = f"pod {name} does not answer well at {url}"
                return Before(text, overdue=(DESTINATION_BAD, f"the other environment is not healthy: {text}"))
        return Done(f"{len(ready)} pods answer well") if ready else Before("no pod is Ready")

    async def apply(self, step: CheckEnvironment, run: Run) -> None:
        """Nothing to do: asking has no effect."""


def pod_url(url: str, service: Mapping[str, Any], pod: Mapping[str, Any]) -> str:
    """What the Service's `url` is on one of its pods: the pod's address, and the port behind the Service's own."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    behind = next((p.get("targetPort", port) for p in service["spec"].get("ports") or [] if p["port"] == port), port)
    if isinstance(behind, str):
        ports = [p for c in pod["spec"]["containers"] for p in c.get("ports") or []]
        behind = next((p["containerPort"] for p in ports if p.get("name") == behind), port)
    ip = str((pod.get("status") or {}).get("podIP", ""))
    host = f"[{ip}]" if ":" in ip else ip
    return urlunsplit((parts.scheme, f"{host}:{behind}", parts.path, parts.query, ""))


class _Test(Protocol):
    def __call__(self, workload: Workload) -> bool: ...


async def _given_back(cluster: Cluster, run: Run, is_theirs: _Test, theirs: str) -> Observation:
    try:
        workload, service = await workload_of(cluster, run), await service_of(cluster, run)
    except ClusterError as error:
        return Unclear(str(error), error.retry_after)
    if workload is None or workload.deleting:
        return Done("it is gone")
    if is_theirs(workload):
        return Foreign(theirs)
    if service is None and run.switched:
        # Whoever replaces a Service deletes it first.
        return Foreign("the Service that led there was deleted, and may come back")
    if serves(workload, service) or _is_named(run, service):
        return Done("the Service sends its requests there now")
    return Before("it serves nobody")


def _is_named(run: Run, service: Mapping[str, Any] | None) -> bool:
    """Whether the Service's selector names the environment, whatever else somebody has written into it."""
    selector = selector_of(service) or {}
    return any(isinstance(s, SwitchService) and selector.get(s.label) == s.after for s in run.opened.plan.steps)


def serves(workload: Workload, service: Mapping[str, Any] | None) -> bool:
    """Whether the Service's selector takes the workload's pods."""
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    return capacity.selects(selector, capacity.labels_of(workload.template))


def _hold(cluster: Cluster, run: Run) -> Hold:
    return Hold(
        id=MADE,
        kind=MADE,
        object=run.opened.plan.deployment,
        uid="",
        original=None,
        written=0,
        run=run.id,
        token=provenance.new_token(),
        since=provenance.opened(run.opened.at, cluster.ahead()),
    )


def manifest(shown: Json, hold: Hold, replicas: int) -> Json:
    """The Deployment of a snapshot as it is created again for this hold."""
    metadata = shown["metadata"]
    kept = {key: copy.deepcopy(metadata[key]) for key in KEPT if metadata.get(key)}
    annotations = {k: v for k, v in kept.get("annotations", {}).items() if k != REVISION}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **kept,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**kept.get("labels", {}), **MANAGED},
            "annotations": {**annotations, **provenance.marks(hold)},
        },
        "spec": {**copy.deepcopy(shown["spec"]), "replicas": replicas},
    }


async def sweep(cluster: Cluster, run: Run, hold: Hold, selectors: Selectors) -> bool:
    """Delete the environment that a request of a guard that is gone may have created too late; True if it was.

    Not where a target's Service takes its pods, or where somebody has made it theirs. Raises the `ClusterError` it met.
    """
    workload = await workload_of(cluster, run)
    if workload is None or workload.deleting or provenance.disowned(workload.raw, hold) is not None:
        return False
    labels = capacity.labels_of(workload.template)
    if changed(run, workload) or any(capacity.selects(selector, labels) for selector in await selectors()):
        return False
    await cluster.delete(
        Kind.DEPLOYMENT,
        workload.namespace,
        workload.name,
        uid=workload.uid,
        resource_version=workload.resource_version,
    )
    return True
