"""What every handler looks at first: the workload, its Service and its pods, as they are at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.external_changes import external_change, external_live_change
from logcaster_guard.domain.field_owners import released_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.runs import ABANDONED, DESTINATION_BAD, FAILED, Run
from logcaster_guard.domain.startup import held_up, never_starts
from logcaster_guard.domain.step_reasons import DoesNotComeUp, DoesNotStart, PodsCrashed
from logcaster_guard.domain.theirs import BadReleaseOutAgain, WorkloadGone
from logcaster_guard.domain.workload import HASH_LABEL, REVISION_LABEL, Workload, revisions_of
from logcaster_guard.ports import Cluster, Json, Kind


async def workload_of(cluster: Cluster, run: Run) -> Workload | None:
    """The workload that the run is about; None if it is gone. Raises the `ClusterError` it met."""
    plan = run.opened.plan
    try:
        return Workload(await cluster.get(Kind(plan.kind), plan.namespace, plan.deployment))
    except NotFound:
        return None


async def service_of(cluster: Cluster, run: Run) -> Mapping[str, Any] | None:
    """Its Service; None if it has none or it is gone. Raises the `ClusterError` it met."""
    plan = run.opened.plan
    if plan.service is None:
        return None
    try:
        return await cluster.get(Kind.SERVICE, plan.namespace, plan.service)
    except NotFound:
        return None


async def deployment_called(cluster: Cluster, run: Run, name: str) -> Workload | None:
    """Another Deployment of the same namespace; None if it is not there. Raises the `ClusterError` it met."""
    try:
        return Workload(await cluster.get(Kind.DEPLOYMENT, run.opened.plan.namespace, name))
    except NotFound:
        return None


async def both(cluster: Cluster, run: Run) -> tuple[Workload | None, Mapping[str, Any] | None]:
    """Workload and Service, asked for at once."""
    workload, service = await asyncio.gather(workload_of(cluster, run), service_of(cluster, run))
    return workload, service


async def live_of(cluster: Cluster, run: Run) -> Workload | None:
    """The environment that the Service is to leave; None if the plan has none or it is gone. Raises `ClusterError`."""
    live = run.opened.plan.live
    return await deployment_called(cluster, run, live) if live else None


async def undisturbed(cluster: Cluster, run: Run) -> tuple[Message | None, Workload | None, Workload | None]:
    """What somebody else changed of anything the plan rests on, the workload, and the environment that is left.

    Raises the `ClusterError` it met.
    """
    workload, service, live = await asyncio.gather(
        workload_of(cluster, run), service_of(cluster, run), live_of(cluster, run)
    )
    return external_change(run, workload, service) or external_live_change(run, live), workload, live


async def held_up_pods(cluster: Cluster, workload: Workload, template: str) -> Sequence[Json]:
    """The workload's pods that carry this release, if some pod is held up. Raises the `ClusterError` it met."""
    pods = await own_pods(cluster, workload)
    if not any(map(held_up, pods)):
        return []
    kept_in, label = Kind.CONTROLLER_REVISION, REVISION_LABEL
    if workload.kind == Kind.DEPLOYMENT:
        kept_in, label = Kind.REPLICA_SET, HASH_LABEL
    listed = await cluster.list(kept_in, workload.namespace)
    names = {r.name for r in revisions_of(workload, listed) if r.hash == template}
    # A StatefulSet's label is the whole name of the revision, the others' only its last part.
    marks = ((p, str((p["metadata"].get("labels") or {}).get(label, ""))) for p in pods)
    return [p for p, mark in marks if mark and {mark, f"{workload.name}-{mark}"} & names]


async def own_pods(cluster: Cluster, workload: Workload) -> Sequence[Json]:
    """The pods that the workload's own selector takes, a helper's included where it carries the same labels."""
    labels = (workload.raw["spec"].get("selector") or {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return await cluster.list(Kind.POD, workload.namespace, selector)


def belonging(pods: Sequence[Json], deployment: Workload, replica_sets: Sequence[Json]) -> Sequence[Json]:
    """Those of the pods that are the Deployment's, by their owners: others may carry its labels."""
    owners = {deployment.uid, *(r["metadata"]["uid"] for r in replica_sets if deployment.uid in _owners(r))}
    return [pod for pod in pods if _owners(pod) & owners]


def _owners(raw: Json) -> set[str]:
    return {str(o.get("uid")) for o in raw["metadata"].get("ownerReferences") or []}


async def delete(cluster: Cluster, deployment: Workload) -> None:
    """Delete the Deployment in the foreground, with its pods, as it was looked at. Raises the `ClusterError` it met."""
    name, version = deployment.name, deployment.resource_version
    await cluster.delete(Kind.DEPLOYMENT, deployment.namespace, name, uid=deployment.uid, resource_version=version)


class _Judge(Protocol):
    def __call__(self, workload: Workload) -> Observation: ...


async def looked_at(cluster: Cluster, run: Run, judge: _Judge) -> Observation:
    """What `judge` says of the workload while nothing that the plan rests on was changed by somebody else."""
    try:
        theirs, workload, _ = await undisturbed(cluster, run)
    except ClusterError as error:
        return Unclear(error.reason, error.retry_after)
    if theirs is not None or workload is None:
        return ExternalChange(theirs or WorkloadGone("the Deployment"))
    return judge(workload)


async def look(cluster: Cluster, run: Run) -> Observation:
    """`Done` while nothing that the plan rests on was changed by somebody else and the good release is in place."""
    return await looked_at(
        cluster,
        run,
        lambda w: Done() if w.hash == destination(run) else rolled_out_again(w, run),
    )


def destination(run: Run) -> str:
    """The hash of the good release's template."""
    return run.opened.plan.to_template


def rolled_out_again(workload: Workload, run: Run) -> Failed:
    """The end of a run whose bad release somebody has rolled out once more."""
    who = released_by(workload.raw, since=run.opened.at)
    return Failed(ABANDONED, BadReleaseOutAgain(who))


def _restarts(pod: Json) -> int:
    """How often its containers have been started again."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(int(c.get("restartCount") or 0) for c in statuses)


def coming_up(pods: Sequence[Json], run: Run, now: datetime, ready: Message, *, other: bool) -> Observation:
    """What pods of the good release show that are not Ready as they should be: they never start, or may come up still.

    `ready` tells how many are Ready; `other`: they are those of the other environment. Pods that crash show that the
    release is bad.
    """
    said = never_starts(pods, now, lasted=run.lasted(now))
    if said is not None:
        return Failed(DESTINATION_BAD, DoesNotStart(said))
    crashed = sum(_restarts(p) > 0 for p in pods)
    if crashed:
        return Before(ready, overdue=(DESTINATION_BAD, PodsCrashed(ready, crashed)))
    return Before(ready, overdue=(FAILED, DoesNotComeUp(other, ready)))
