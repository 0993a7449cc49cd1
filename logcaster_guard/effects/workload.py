"""Step handlers that touch the Deployment and its autoscaler.

`observe` only reads and turns every failure of the API into an `Unclear`; `apply` performs the effect once and raises
the `ClusterError` it met. A handler keeps nothing between two calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any, Protocol

from logcaster_guard.domain import field_owners, releases
from logcaster_guard.domain.description import pods
from logcaster_guard.domain.errors import BlobMissing, ClusterError, NotFound, Rejected
from logcaster_guard.domain.field_owners import released_by, written_by
from logcaster_guard.domain.observations import Before, Done, Failed, Foreign, Observation, Pending, Unclear
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.runs import ABANDONED, DESTINATION_BAD, FAILED, Run
from logcaster_guard.domain.startup import never_starts
from logcaster_guard.domain.steps import (
    AwaitRollout,
    DeleteStuckPods,
    Hold,
    RaiseAutoscalerMinimum,
    RestoreTemplate,
    Step,
)
from logcaster_guard.domain.workload import REVISION_LABEL, Workload
from logcaster_guard.effects.handing_back import FieldOwnership
from logcaster_guard.effects.interference import foreign, foreign_workload
from logcaster_guard.effects.looking import both, held_up_pods, undisturbed, workload_of
from logcaster_guard.ports import Blobs, Clock, Cluster, Json, Kind


class Handler(Protocol):
    """What the executor needs for one kind of step."""

    async def observe(self, step: Any, run: Run) -> Observation:  # noqa: ANN401 - each handler takes its own step type
        """Look whether the step's effect is there; never raises a `ClusterError`."""

    async def apply(self, step: Any, run: Run) -> None:  # noqa: ANN401 - as above
        """Perform the effect once; raises the `ClusterError` it met. Waits and judgements have no effect.

        `run` includes the intent. Nothing is written where the look that the write is bound to shows another state.
        """


class Lender(Protocol):
    """What the executor needs for one kind of hold."""

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """`Done` when it is back, `Foreign` when somebody else changed it since, `Before` when it is still out."""

    async def release(self, hold: Hold, run: Run) -> None:
        """Give it back, once; raises the `ClusterError` it met."""


class RestoreTemplateHandler:
    """Writes the good release into the Deployment: one request, bound to the resourceVersion that was looked at."""

    def __init__(self, cluster: Cluster, blobs: Blobs) -> None:
        self._cluster = cluster
        self._blobs = blobs
        self._written: dict[str, int] = {}

    async def observe(self, step: RestoreTemplate, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when the Deployment carries the good release, whoever wrote it."""
        return await _looked_at(self._cluster, run, lambda w: self._judged(w, run))

    def _judged(self, workload: Workload, run: Run) -> Observation:
        if workload.hash == _to(run):
            return Done(workload.revision)
        # This process wrote the good release, and there is a later generation with the bad one: somebody fights back.
        if workload.generation > self._written.get(run.id, workload.generation):
            who = released_by(workload.raw, since=run.opened.at)
            return Foreign(f"Somebody put the bad release back{who}.")
        return Before()

    async def apply(self, step: RestoreTemplate, run: Run) -> None:
        """Write the template, but for a guard in it, its change-cause and last-applied's copy of it; nothing else."""
        plan = run.opened.plan
        release = await self._release(step)
        kind = Kind(plan.kind)
        raw = await self._cluster.get(kind, plan.namespace, plan.deployment)
        workload = Workload(raw)
        # The write is bound to this very look, so that what is seen here is what is changed.
        if workload.hash != plan.from_template or foreign_workload(run, workload) is not None:
            return
        release = release.carried_into(workload)
        manager = workload.server_side_manager()
        body = None if manager is None else releases.applied_set(workload, release, manager)
        if manager is None or body is None:
            patch = releases.restoring_patch(workload, release)
            made = await self._cluster.json_patch(kind, plan.namespace, plan.deployment, patch)
        else:
            made = await self._cluster.apply(kind, plan.namespace, plan.deployment, body, manager=manager, force=True)
        self._written[run.id] = Workload(made).generation

    async def _release(self, step: RestoreTemplate) -> Release:
        try:
            return Release.from_bytes(await self._blobs.get(step.release))
        except BlobMissing as error:
            raise Rejected(f"The saved release cannot be read: {error}") from error


class DeleteStuckPodsHandler:
    """Deletes the pods that keep a StatefulSet from going on: not Ready, and of another revision than the good one.

    They serve nobody. Known as *forced rollback* in the Kubernetes documentation of StatefulSets.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def observe(self, step: DeleteStuckPods, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when none is left."""
        looked = await look(self._cluster, run)
        if not isinstance(looked, Done):
            return looked
        try:
            workload, stuck = await self._stuck(run)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if not workload.observed or not workload.update_revision:
            return Pending("the controller has not seen the good template yet")
        return Before(f"{pods(len(stuck))} stuck") if stuck else Done("no pod is stuck")

    async def apply(self, step: DeleteStuckPods, run: Run) -> None:  # noqa: ARG002 - the protocol's shape
        """Delete each of them, bound to its uid."""
        workload, stuck = await self._stuck(run)
        if not workload.observed or foreign_workload(run, workload) is not None:
            return
        for pod in stuck:
            metadata = pod["metadata"]
            with contextlib.suppress(NotFound):
                await self._cluster.delete(
                    Kind.POD, metadata["namespace"], metadata["name"], uid=metadata["uid"], resource_version=None
                )

    async def _stuck(self, run: Run) -> tuple[Workload, list[Json]]:
        plan = run.opened.plan
        workload = Workload(await self._cluster.get(Kind(plan.kind), plan.namespace, plan.deployment))
        pods = await self._cluster.list(Kind.POD, plan.namespace)
        return workload, [p for p in pods if _is_stuck(p, workload)]


def _is_stuck(pod: Json, workload: Workload) -> bool:
    metadata = pod["metadata"]
    owned = any(o.get("uid") == workload.uid for o in metadata.get("ownerReferences") or [])
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    revision = (metadata.get("labels") or {}).get(REVISION_LABEL)
    return owned and not ready and "deletionTimestamp" not in metadata and revision != workload.update_revision


class AwaitRolloutHandler:
    """Follows the rollout of the good release to its end."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def observe(self, step: AwaitRollout, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when every pod is the good release's and available; failed when Kubernetes gave up, or none starts."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        if theirs is not None or workload is None:
            return Foreign(theirs or "the Deployment is gone")
        seen = self._progress(workload, run)
        return await self._unstartable(workload, run) or seen if isinstance(seen, Before) else seen

    async def _unstartable(self, workload: Workload, run: Run) -> Failed | None:
        try:
            pods = await held_up_pods(self._cluster, workload, _to(run))
        except ClusterError:
            # Whoever may not see the pods waits for the deadline.
            return None
        said = never_starts(pods, self._clock.now(), lasted=run.lasted(self._clock.now()))
        return None if said is None else Failed(DESTINATION_BAD, f"the good release does not start: {said}")

    def _progress(self, workload: Workload, run: Run) -> Observation:
        if workload.hash != _to(run):
            return _again(workload, run)
        if workload.rolled_out:
            return Done(workload.progress)
        # A condition of the bad rollout can outlive it: only one that the good rollout had time to earn counts.
        if workload.progress_deadline_exceeded and run.lasted(self._clock.now()) >= workload.progress_deadline:
            return Failed(FAILED, f"the rollout of the good release made no progress: {workload.progress}")
        return Before(workload.progress)

    async def apply(self, step: AwaitRollout, run: Run) -> None:
        """Nothing to do: the Deployment controller does it."""


class RaiseAutoscalerMinimumHandler:
    """Borrows an autoscaler's minimum, so that it does not shrink the target while it is rolled back."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: RaiseAutoscalerMinimum, run: Run) -> Observation:
        """Done when the minimum is high enough, or the autoscaler is gone."""
        try:
            workload, service = await both(self._cluster, run)
            raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, step.autoscaler)
        except NotFound:
            return Done("the autoscaler is gone")
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        theirs = foreign(run, workload, service)
        if theirs is not None:
            return Foreign(theirs)
        minimum = raw["spec"].get("minReplicas")
        if raw["metadata"]["uid"] != step.uid or int(minimum or 1) >= step.minimum:
            return Done(f"minimum {minimum}")
        # A minimum that was raised before already is not the one to go back to.
        known = run.holds.get(_hold_id(step))
        if known is not None and minimum not in known.ours:
            known = None
        return Before(
            f"minimum {minimum}",
            borrows=Hold(
                id=_hold_id(step),
                kind="autoscaler_minimum",
                object=step.autoscaler,
                uid=step.uid,
                original=minimum if known is None else known.original,
                written=step.minimum,
                earlier=() if known is None else tuple(sorted(known.ours)),
                owners=field_owners.owners_of(raw, field_owners.MINIMUM) if known is None else known.owners,
            ),
        )

    async def apply(self, step: RaiseAutoscalerMinimum, run: Run) -> None:
        """Raise the minimum, bound to the resourceVersion that was looked at, if the hold tells what it was."""
        if foreign_workload(run, await workload_of(self._cluster, run)) is not None:
            return
        hold = run.holds[_hold_id(step)]
        await self._write(run, hold, shown={hold.original, *hold.earlier}, minimum=step.minimum)

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """The original comes back only while the autoscaler still shows what the guard wrote."""
        try:
            raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, hold.object)
        except NotFound:
            return Done("the autoscaler is gone")
        except ClusterError as error:
            return Unclear(str(error), error.retry_after)
        minimum = raw["spec"].get("minReplicas")
        if raw["metadata"]["uid"] != hold.uid:
            return Foreign("the autoscaler was created again by somebody else")
        if minimum in hold.ours:
            return Before(f"minimum {minimum}")
        if minimum == _floor(hold) and self._fields.due(raw, hold, field_owners.MINIMUM):
            return Before(f"minimum {minimum}, and the guard's field")
        if minimum == _floor(hold):
            return Done(f"minimum {minimum}")
        who = written_by(raw, field_owners.MINIMUM, since=run.opened.at)
        return Foreign(f"somebody else set the minimum to {minimum}{who}; it was {_floor(hold)}")

    async def release(self, hold: Hold, run: Run) -> None:
        """Write the original minimum back, if the autoscaler still shows what the guard wrote."""
        raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, hold.object)
        if raw["metadata"]["uid"] == hold.uid and raw["spec"].get("minReplicas") == _floor(hold):
            await self._fields.hand_back(raw, hold, field_owners.MINIMUM)
            return
        await self._write(run, hold, shown=hold.ours, minimum=_floor(hold))

    async def _write(self, run: Run, hold: Hold, *, shown: Collection[int | None], minimum: int) -> None:
        namespace, name = run.opened.plan.namespace, hold.object
        raw = await self._cluster.get(Kind.AUTOSCALER, namespace, name)
        if raw["metadata"]["uid"] != hold.uid or raw["spec"].get("minReplicas") not in shown:
            return
        version = raw["metadata"]["resourceVersion"]
        patch: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/spec/minReplicas", "value": minimum},
        ]
        await self._cluster.json_patch(Kind.AUTOSCALER, namespace, name, patch)


def _hold_id(step: RaiseAutoscalerMinimum) -> str:
    return f"autoscaler/{step.autoscaler}"


def _floor(hold: Hold) -> int:
    # The API server fills an absent minimum in as 1.
    return 1 if hold.original is None else hold.original


def _to(run: Run) -> str:
    return run.opened.plan.to_template


def _again(workload: Workload, run: Run) -> Failed:
    who = released_by(workload.raw, since=run.opened.at)
    return Failed(ABANDONED, f"Somebody rolled the bad release out again{who}.")


class _Judge(Protocol):
    def __call__(self, workload: Workload) -> Observation: ...


async def _looked_at(cluster: Cluster, run: Run, judge: _Judge) -> Observation:
    try:
        theirs, workload, _ = await undisturbed(cluster, run)
    except ClusterError as error:
        return Unclear(str(error), error.retry_after)
    if theirs is not None or workload is None:
        return Foreign(theirs or "the Deployment is gone")
    return judge(workload)


async def look(cluster: Cluster, run: Run) -> Observation:
    """`Done` while nothing that the plan rests on was changed by somebody else and the good release is in place."""
    return await _looked_at(
        cluster,
        run,
        lambda w: Done() if w.hash == _to(run) else _again(w, run),
    )


def registry(cluster: Cluster, blobs: Blobs, clock: Clock) -> tuple[dict[type[Step], Handler], dict[str, Lender]]:
    """The handlers of this module by step type, and the lenders by kind of hold."""
    autoscaler = RaiseAutoscalerMinimumHandler(cluster)
    handlers: dict[type[Step], Handler] = {
        RestoreTemplate: RestoreTemplateHandler(cluster, blobs),
        AwaitRollout: AwaitRolloutHandler(cluster, clock),
        DeleteStuckPods: DeleteStuckPodsHandler(cluster),
        RaiseAutoscalerMinimum: autoscaler,
    }
    return handlers, {"autoscaler_minimum": autoscaler}
