"""The pods of one target as they are listed at each look: when they were created, started, and of which template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from logcaster_guard.domain.configuration.pod_starts import PodSeen, PodsSeen
from logcaster_guard.domain.workload import REVISION_LABEL, Workload, revisions_of
from logcaster_guard.engine.followed_objects import FollowedObjects
from logcaster_guard.ports import Json, Kind, Reads

_WORKLOADS = 2
"""Workloads whose pods are remembered: environments take turns."""


class FollowedPods:
    """Remembers all pods that a workload's selector matches, whatever template they are of.

    One that is seen for the first time was created since the look before. So none may be left out of a look only
    because it is of another template. `seen` is by the workload's uid; `looked` is the monotonic second of the last
    list, None before the first.
    """

    def __init__(self, reads: Reads, objects: FollowedObjects) -> None:
        self._reads = reads
        self._objects = objects
        self.seen: dict[str, PodsSeen] = {}
        self.looked: float | None = None
        self._workload = ""
        self._owners: dict[str, str] = {}
        self._templates: dict[str, str] = {}

    async def look(self, workload: Workload, *, after: int | None = None) -> None:
        """See the pods as `SharedPods.listed` shows them; raises a `ClusterError`."""
        items, look = await self._objects.pods.listed(workload.namespace, _selector(workload), after=after)
        before = self.seen.pop(workload.uid, PodsSeen())
        self.seen[workload.uid] = before.listed(items, look)
        self.seen = dict(list(self.seen.items())[-_WORKLOADS:])
        self._workload = workload.uid
        self._templates = await self._templates_of(workload, items)
        self.looked = look.asked

    async def look_back(self, workload: Workload, version: str) -> None:
        """Tell the pods that were there at this resourceVersion from those that came later, if that is still known.

        Raises a `ClusterError`.
        """
        items, then = await self._objects.pods.as_of(workload.namespace, _selector(workload), version)
        if then == version and workload.uid in self.seen:
            self.seen[workload.uid] = self.seen[workload.uid].listed_as_of(items, version)

    def of(self, template: str) -> Sequence[PodSeen]:
        """The pods of the template with this normalised hash, as they were listed last."""
        pods = self.seen.get(self._workload, PodsSeen()).pods
        return [pod for uid, pod in pods.items() if self._templates.get(uid) == template]

    async def _templates_of(self, workload: Workload, pods: Sequence[Json]) -> dict[str, str]:
        """The template of each pod that does not end, by uid. Which owner has which is asked once for each."""
        owners = {str(pod["metadata"]["uid"]): _owner(workload, pod) for pod in pods if not _ends(pod)}
        if not set(owners.values()) <= self._owners.keys():
            found = await self._known_owners(workload, _selector(workload))
            self._owners = {owner: found.get(owner, "") for owner in owners.values()}
        return {uid: self._owners[owner] for uid, owner in owners.items()}

    async def _known_owners(self, workload: Workload, selector: str) -> Mapping[str, str]:
        if workload.kind == Kind.DEPLOYMENT:
            items = await self._reads.list(Kind.REPLICA_SET, workload.namespace, selector)
            return {revision.uid: revision.hash for revision in revisions_of(workload, items)}
        items = await self._reads.list(Kind.CONTROLLER_REVISION, workload.namespace)
        return {f"{workload.uid}/{revision.name}": revision.hash for revision in revisions_of(workload, items)}


def _selector(workload: Workload) -> str:
    """The selector keeps the answer small; ownership decides."""
    labels = ((workload.raw["spec"].get("selector") or {}).get("matchLabels") or {}).items()
    return ",".join(f"{key}={value}" for key, value in sorted(labels))


def _owner(workload: Workload, pod: Json) -> str:
    """What tells the template of a pod: its ReplicaSet, or its workload and the revision that its label names."""
    owners = pod["metadata"].get("ownerReferences") or []
    controller = next((str(o.get("uid", "")) for o in owners if o.get("controller")), "")
    if workload.kind == Kind.DEPLOYMENT:
        return controller
    return f"{controller}/{(pod['metadata'].get('labels') or {}).get(REVISION_LABEL, '')}"


def _ends(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"] or (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
