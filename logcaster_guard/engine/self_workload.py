"""Which workload the guard's own pod is of: rolling that back would end the guard that does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from logcaster_guard.ports import Cluster, Json, Kind


@dataclass(frozen=True, slots=True)
class OwnPod:
    """The pod that this process runs in, as the downward API tells it."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class OwnWorkload:
    """What controls that pod."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


async def own_workload(cluster: Cluster, pod: OwnPod) -> OwnWorkload | None:
    """The workload that the pod is of; None if it is of none that could be a target. Raises `ClusterError`s.

    Two LISTs at most, which every target's namespace allows.
    """
    found = _called(await cluster.list(Kind.POD, pod.namespace), pod.name)
    owner = None if found is None else _controller(found)
    if owner is not None and owner.get("kind") == Kind.REPLICA_SET:
        found = _called(await cluster.list(Kind.REPLICA_SET, pod.namespace), str(owner.get("name")))
        owner = None if found is None else _controller(found)
    if owner is None or owner.get("kind") not in {Kind.DEPLOYMENT, Kind.STATEFUL_SET, Kind.DAEMON_SET}:
        return None
    return OwnWorkload(str(owner["kind"]), pod.namespace, str(owner["name"]), str(owner["uid"]))


def _called(items: Iterable[Json], name: str) -> Json | None:
    return next((item for item in items if item["metadata"].get("name") == name), None)


def _controller(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    owners = item["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)
