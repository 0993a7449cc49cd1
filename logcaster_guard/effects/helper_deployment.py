"""Step handlers of the helper: a second Deployment that runs the good release beside production for a while.

It has a selector of its own and pods that the Service selects. It belongs to production's Deployment, so that it goes
with it, and carries the token that its run wrote down before it made it: nothing else is ever touched.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence

from logcaster_guard.domain import capacity, field_owners, provenance
from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.description import wanted
from logcaster_guard.domain.errors import BlobMissing, ClusterError, Rejected
from logcaster_guard.domain.field_owners import written_by
from logcaster_guard.domain.observations import Before, Done, Failed, Foreign, Observation, Pending, Unclear
from logcaster_guard.domain.provenance import MANAGED, RUN
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.runs import DESTINATION_BAD, FAILED, Run
from logcaster_guard.domain.sidecar import without_guard
from logcaster_guard.domain.startup import never_starts
from logcaster_guard.domain.steps import AwaitHelper, CreateHelper, Hold, RemoveHelper, ScaleHelper
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.interference import foreign, foreign_workload
from logcaster_guard.effects.looking import Selectors, both, deployment_called, own_pods, workload_of
from logcaster_guard.ports import Blobs, Clock, Cluster, Json, Kind

FIELDS_KEPT = ("minReadySeconds", "progressDeadlineSeconds")


class HelperHandler:
    """Looks at the workload, the Service and the helper; its subclasses say what is to be done."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def _seen(self, run: Run, helper: str) -> Foreign | Unclear | tuple[Workload, Workload | None]:
        """Production and the helper, if nothing of somebody else's speaks against going on."""
        try:
            workload, service = await both(self._cluster, run)
            theirs = foreign(run, workload, service)
            if theirs is not None or workload is None:
                return Foreign(theirs or "the Deployment is gone")
            return workload, await deployment_called(self._cluster, run, helper)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)


class CreateHelperHandler(HelperHandler):
    """Creates the helper under the name that the plan gave it, so that it cannot be there twice."""

    def __init__(self, cluster: Cluster, blobs: Blobs) -> None:
        super().__init__(cluster)
        self._blobs = blobs

    async def observe(self, step: CreateHelper, run: Run) -> Observation:
        """Done when this run's helper is there."""
        seen = await self._seen(run, step.helper)
        if not isinstance(seen, tuple):
            return seen
        workload, helper = seen
        if helper is None:
            known = run.taken.get(_hold_id(step.helper))
            # A request that was sent before may still take effect: it carries the same token.
            hold = known if known is not None and known.token else _hold(self._cluster, run, step.helper)
            return Before("there is no helper", borrows=hold)
        if helper.deleting:
            return Pending(f"an earlier {step.helper} is being deleted")
        theirs = disowned(run, helper, workload)
        if theirs is not None:
            return Unclear(f"there is another Deployment {step.helper}, and {theirs}: delete it, if nobody needs it")
        return Done(f"{step.helper} is there")

    async def apply(self, step: CreateHelper, run: Run) -> None:
        """One create; a name that is taken is a `Conflict`, which is looked at again."""
        workload = await workload_of(self._cluster, run)
        if workload is None or foreign_workload(run, workload) is not None:
            return
        try:
            release = Release.from_bytes(await self._blobs.get(step.release))
        except BlobMissing as error:
            raise Rejected(f"The saved release cannot be read: {error}") from error
        body = manifest(step, run.holds[_hold_id(step.helper)], workload, release)
        await self._cluster.create(Kind.DEPLOYMENT, run.opened.plan.namespace, body)


class ScaleHelperHandler(HelperHandler):
    """Gives the helper more pods."""

    async def observe(self, step: ScaleHelper, run: Run) -> Observation:
        """Done when that many are wanted."""
        seen = await self._seen(run, step.helper)
        if not isinstance(seen, tuple):
            return seen
        workload, helper = seen
        theirs = _gone(run, helper, step.helper, workload)
        if theirs is not None or helper is None:
            return Foreign(theirs or "the helper is gone")
        if helper.replicas == step.replicas:
            return Done(wanted(step.replicas))
        return Before(wanted(helper.replicas))

    async def apply(self, step: ScaleHelper, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        helper = await deployment_called(self._cluster, run, step.helper)
        if helper is None or disowned(run, helper, await workload_of(self._cluster, run)) is not None:
            return
        patch: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": helper.resource_version},
            {"op": "replace", "path": "/spec/replicas", "value": step.replicas},
        ]
        await self._cluster.json_patch(Kind.DEPLOYMENT, helper.namespace, helper.name, patch)


class AwaitHelperHandler(HelperHandler):
    """Waits until the helper's pods serve."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        super().__init__(cluster)
        self._clock = clock

    async def observe(self, step: AwaitHelper, run: Run) -> Observation:
        """Done when enough of them are Ready and selected; pods that crash show that the release is bad."""
        seen = await self._seen(run, step.helper)
        if not isinstance(seen, tuple):
            return seen
        workload, helper = seen
        theirs = foreign_helper(run, helper, step.helper, step.replicas, workload)
        if theirs is not None or helper is None:
            return Foreign(theirs or "the helper is gone")
        try:
            pods = await helper_pods(self._cluster, helper)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        serving = capacity.serving(pods, run.opened.plan.selector, step.helper)
        text = f"{serving} of {step.replicas} pods of {step.helper} serve{helper.refusal}"
        if serving >= step.replicas and helper.observed:
            return Done(text)
        if serving >= step.replicas:
            text = f"{text}, but its controller has not seen its last change"
        said = never_starts(pods, self._clock.now(), lasted=run.lasted(self._clock.now()))
        if said is not None:
            return Failed(DESTINATION_BAD, f"the good release does not start: {said}")
        crashed = sum(restarts(p) > 0 for p in pods)
        if crashed:
            return Before(text, overdue=(DESTINATION_BAD, f"{text}, and {crashed} of them have crashed"))
        return Before(text, overdue=(FAILED, f"the good release does not come up: {text}"))

    async def apply(self, step: AwaitHelper, run: Run) -> None:
        """Nothing to do: the Deployment controller does it."""


class RemoveHelperHandler(HelperHandler):
    """Deletes the helper once production carries the load alone; as a step, and as the lender of the hold."""

    async def observe(self, step: RemoveHelper, run: Run) -> Observation:
        """Done when it is gone, with its pods on their way."""
        seen = await self._seen(run, step.helper)
        if not isinstance(seen, tuple):
            return seen
        workload, helper = seen
        theirs = None if helper is None else disowned(run, helper, workload)
        return Foreign(_stands(step.helper, theirs)) if theirs else await self._removable(run, workload, helper)

    async def apply(self, step: RemoveHelper, run: Run) -> None:
        """Delete in the foreground: orphaned ReplicaSets would be taken in by production."""
        await self._delete(run, step.helper)

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """As the step; whatever became of production."""
        try:
            workload = await workload_of(self._cluster, run)
            helper = await deployment_called(self._cluster, run, hold.object)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        theirs = None if helper is None else disowned(run, helper, workload)
        if theirs == provenance.WITHOUT_TOKEN:
            return Failed(FAILED, _stands(hold.object, theirs))
        return Foreign(_stands(hold.object, theirs)) if theirs else await self._removable(run, workload, helper)

    async def release(self, hold: Hold, run: Run) -> None:
        """As the step."""
        await self._delete(run, hold.object)

    async def _removable(self, run: Run, workload: Workload | None, helper: Workload | None) -> Observation:
        if helper is None:
            return Done("the helper is gone")
        if helper.deleting:
            return Pending("the helper is being deleted")
        plan = run.opened.plan
        gone = workload is None or workload.deleting
        try:
            # Deleted with its pods, production takes the helper along; pods that it has left behind serve all the same.
            if workload is None or gone:
                pods = await self._cluster.list(Kind.POD, plan.namespace)
            else:
                pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        serving = capacity.serving(pods, plan.selector, None)
        wanted = max(plan.floor, 1) if workload is None or gone else workload.replicas
        needed = min(plan.floor, wanted)
        if wanted and capacity.serving(pods, plan.selector, helper.name):
            # Whoever serves alone stays, however few served at the start.
            needed = max(needed, 1)
        whose = f"pods serve without {plan.deployment}, which is gone" if gone else "of production's pods serve"
        if serving < needed:
            return Pending(f"the helper goes on serving: {serving} {whose}, and {needed} are needed")
        return Before(f"{serving} {whose}")

    async def _delete(self, run: Run, name: str) -> None:
        helper = await deployment_called(self._cluster, run, name)
        if helper is None or helper.deleting:
            return
        if disowned(run, helper, await workload_of(self._cluster, run)) is not None:
            return
        await self._cluster.delete(
            Kind.DEPLOYMENT, helper.namespace, name, uid=helper.uid, resource_version=helper.resource_version
        )


def manifest(step: CreateHelper, hold: Hold, workload: Workload, release: Release) -> Json:
    """The helper Deployment that this hold was journalled for."""
    own = {HELPER_LABEL: capacity.helper_label(step.helper)}
    # A guard in the pods is production's alone.
    template = copy.deepcopy(without_guard(release.template))
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **step.labels, **own}
    spec = workload.raw["spec"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name, "uid": workload.uid}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": step.helper,
            "namespace": workload.namespace,
            "labels": {**MANAGED, **own},
            "annotations": provenance.marks(hold),
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": step.replicas,
            "selector": {"matchLabels": own},
            "template": template,
            **{field: spec[field] for field in FIELDS_KEPT if field in spec},
        },
    }


def foreign_helper(
    run: Run, helper: Workload | None, name: str, size: int, workload: Workload | None
) -> str | None:  # fmt: skip
    """What somebody else did to the helper, which the run has given `size` pods, as a sentence; None if nothing."""
    theirs = _gone(run, helper, name, workload)
    if theirs is not None or helper is None:
        return theirs
    if helper.replicas != size:
        who = written_by(helper.raw, field_owners.REPLICAS, since=run.opened.at)
        return f"Somebody scaled the helper {name} from {size} to {helper.replicas}{who}."
    return None


def disowned(run: Run, helper: Workload, workload: Workload | None) -> str | None:
    """Why the Deployment is not the helper that the run has made, as a clause; None if it is.

    `workload` is production as it is now.
    """
    hold, owner = run.taken.get(_hold_id(helper.name)), run.opened.plan.uid
    if hold is None:
        return f"run {run.id} did not make it"
    orphaned = workload is None or workload.uid != owner
    return provenance.disowned(helper.raw, hold, owner=owner, orphaned=orphaned)


def _gone(run: Run, helper: Workload | None, name: str, workload: Workload | None) -> str | None:
    if helper is None or helper.deleting:
        return f"Somebody deleted the helper {name}."
    theirs = disowned(run, helper, workload)
    return None if theirs is None else _stands(name, theirs)


def _stands(name: str, theirs: str) -> str:
    return f"In the place of the helper {name} stands a Deployment that the guard leaves alone: {theirs}."


async def sweep(cluster: Cluster, run: Run, hold: Hold, selectors: Selectors) -> bool:
    """Delete the helper that a request of a guard that is gone may have made after the run had closed; True if it was.

    Not while a target's Service would select nobody else. Raises the `ClusterError` it met.
    """
    helper = await deployment_called(cluster, run, hold.object)
    if helper is None or helper.deleting:
        return False
    if disowned(run, helper, await workload_of(cluster, run)) is not None:
        return False
    pods = await cluster.list(Kind.POD, helper.namespace)
    if any(_serves_alone(helper, pods, selector) for selector in await selectors()):
        return False
    await cluster.delete(
        Kind.DEPLOYMENT, helper.namespace, helper.name, uid=helper.uid, resource_version=helper.resource_version
    )
    return True


def _serves_alone(helper: Workload, pods: Sequence[Json], selector: Mapping[str, str]) -> bool:
    return capacity.serving(pods, selector, helper.name) > 0 and not capacity.serving(pods, selector, None)


async def left(cluster: Cluster, namespace: str) -> Sequence[str]:
    """The helpers that are there, each in a sentence with the run that made it. Raises the `ClusterError` it met."""
    listed = await cluster.list(Kind.DEPLOYMENT, namespace, ",".join(f"{k}={v}" for k, v in MANAGED.items()))
    helpers = [Workload(raw) for raw in listed if capacity.is_helper(raw)]
    return [
        f"Deployment {h.namespace}/{h.name} with {h.replicas} pods is the helper of run {h.annotations.get(RUN)}."
        for h in helpers
        if not h.deleting
    ]


async def helper_pods(cluster: Cluster, helper: Workload) -> Sequence[Json]:
    """The helper's pods, by their owners: others may carry its label. Raises the `ClusterError` it met."""
    selector = f"{HELPER_LABEL}={capacity.helper_label(helper.name)}"
    pods, replica_sets = await asyncio.gather(
        cluster.list(Kind.POD, helper.namespace, selector), cluster.list(Kind.REPLICA_SET, helper.namespace, selector)
    )
    owners = {helper.uid, *(r["metadata"]["uid"] for r in replica_sets if _owners(r) & {helper.uid})}
    return [p for p in pods if _owners(p) & owners]


def _owners(raw: Json) -> set[str]:
    return {str(o.get("uid")) for o in raw["metadata"].get("ownerReferences") or []}


def _hold_id(helper: str) -> str:
    return f"helper/{helper}"


def _hold(cluster: Cluster, run: Run, helper: str) -> Hold:
    return Hold(
        id=_hold_id(helper),
        kind="helper",
        object=helper,
        uid="",
        original=None,
        written=0,
        run=run.id,
        token=provenance.new_token(),
        since=provenance.opened(run.opened.at, cluster.ahead()),
    )


def restarts(pod: Json) -> int:
    """How often its containers have been started again."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(int(c.get("restartCount") or 0) for c in statuses)
