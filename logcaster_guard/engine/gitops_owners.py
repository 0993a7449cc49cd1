"""The GitOps owner of a workload, as it is at this moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logcaster_guard.domain import gitops
from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.gitops import GitOps, Owner, Reference
from logcaster_guard.domain.guard_reasons import SourceKindUnknown
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.planning_reasons import (
    OwnerNotHere,
    RevisionNotLookedUp,
    RevisionRolledOut,
    RevisionUnread,
    RevisionUntold,
)
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.signals import Target
from logcaster_guard.ports import Cluster, Json, Kind


@dataclass(frozen=True, slots=True)
class Seen:
    """An owner's object and the one that its revision comes from; `unread` says why the latter could not be read."""

    raw: Json
    source: Mapping[str, Any] | None
    unread: Reason = ""


async def seen(cluster: Cluster, owner: Owner) -> Seen:
    """The owner and its source; raises the `ClusterError` that kept the owner itself from being read."""
    raw = await cluster.get(Kind(owner.kind), owner.namespace, owner.name)
    reference = gitops.source_of(raw)
    if reference is None:
        return Seen(raw, None)
    if reference.kind not in set(Kind):
        return Seen(raw, None, SourceKindUnknown(reference.kind))
    try:
        return Seen(raw, await cluster.get(Kind(reference.kind), reference.namespace, reference.name))
    except ClusterError as error:
        return Seen(raw, None, error.reason)


def out_of_reach(error: ClusterError) -> bool:
    """Whether no later try will read the owner either: it is not there, or may not be read.

    A 404 comes without a `Status` where the cluster does not serve the kind, as with an Argo CD in another cluster.
    """
    return error.status in {403, 404}


async def to_suspend(cluster: Cluster, target: Target, policy: Policy) -> Sequence[Reference]:
    """The target's owners that may be suspended, and what their revisions come from, as far as they can be read."""
    if (target.gitops or policy.gitops) is not GitOps.SUSPEND:
        return []
    found = []
    for name in target.environments.values() or [target.deployment]:
        try:
            workload = await cluster.get(Kind(target.kind), target.namespace, name)
            owner = gitops.owner_of(workload, policy.argocd_namespace)
            if owner is None or not owner.known:
                continue
            found.append(Reference(owner.kind, owner.namespace, owner.name))
            source = gitops.source_of(await cluster.get(Kind(owner.kind), owner.namespace, owner.name))
        except ClusterError as error:
            if not out_of_reach(error):
                raise
            # What is missing here is told where it is missed.
            continue
        found += [] if source is None else [source]
    return found


async def bad_commit(cluster: Cluster, owner: Owner) -> Message:
    """The revision that the owner rolled out last, or why it cannot be told; never raises a `ClusterError`."""
    if not owner.known:
        return RevisionNotLookedUp()
    try:
        found = gitops.rolled_out(await cluster.get(Kind(owner.kind), owner.namespace, owner.name))
    except NotFound:
        return OwnerNotHere(owner.object)
    except ClusterError as error:
        return RevisionUnread(error.reason)
    return RevisionRolledOut(found) if found else RevisionUntold(owner.object)
