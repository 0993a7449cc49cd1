"""The pods of a workload, found by who owns whom; labels alone would take in a helper's and a stranger's pods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from logcaster_guard.domain import ownership
from logcaster_guard.domain.ownership import Roster
from logcaster_guard.domain.sidecar import is_guard
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import REVISION_LABEL, Workload, instant, revisions_of, template_hash
from logcaster_guard.ports import Endpoint, Json, Kind, Reads

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"

_SCALES: Mapping[str, Decimal] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(
    r"([+-]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30}))(?:([eE][+-]?\d{1,2})|([KMGTPE]i|[numkMGTPE])?)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the Deployment; `template` is the normalised hash of the template that it was made from."""

    raw: Json
    template: str

    @property
    def name(self) -> str:
        """The pod's name."""
        return str(self.raw["metadata"]["name"])

    @property
    def ip(self) -> str:
        """Its address (IPv6 without brackets); empty before it has one."""
        return str(self._status.get("podIP") or "")

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Failed or Unknown."""
        return str(self._status.get("phase") or "")

    @property
    def counts(self) -> bool:
        """Whether the ReplicaSet counts it: neither terminating nor ended (an evicted pod stays behind as Failed)."""
        return "deletionTimestamp" not in self.raw["metadata"] and self.phase not in {"Succeeded", "Failed"}

    @property
    def ready_since(self) -> datetime | None:
        """When it became Ready; None while it is not."""
        for condition in self._status.get("conditions") or []:
            if condition.get("type") == "Ready" and condition.get("status") == "True":
                return instant(condition.get("lastTransitionTime"))
        return None

    @property
    def ready(self) -> bool:
        """Whether its Ready condition is True."""
        return any(c.get("type") == "Ready" and c.get("status") == "True" for c in self._status.get("conditions") or [])

    @property
    def restarts(self) -> int:
        """Restarts of the container that had most, init containers and sidecars included, but not the guard's own.

        A node that reboots restarts each container once: that is one restart of the pod, however many it has.
        """
        return max((int(c.get("restartCount") or 0) for c in self._containers), default=0)

    @property
    def waiting_reasons(self) -> frozenset[str]:
        """Why containers of it do not run: `ImagePullBackOff`, `CrashLoopBackOff`, `ContainerCreating` and the like."""
        waiting = (((c.get("state") or {}).get("waiting") or {}).get("reason") for c in self._containers)
        return frozenset(str(reason) for reason in waiting if reason)

    @property
    def memory_limit(self) -> float | None:
        """Bytes that its main container may use; None without a limit.

        The main container is the one that `kubectl.kubernetes.io/default-container` names, else the first: a process
        that is measured is in one container, and a sidecar's limit does not help it.
        """
        containers = [c for c in (self.raw.get("spec") or {}).get("containers") or [] if not is_guard(c)]
        wanted = (self.raw["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
        main = next((c for c in containers if c.get("name") == wanted), containers[0] if containers else {})
        text = ((main.get("resources") or {}).get("limits") or {}).get("memory")
        return (None if text is None else quantity(str(text))) or None

    @property
    def _status(self) -> Json:
        return self.raw.get("status") or {}

    @property
    def _containers(self) -> Sequence[Mapping[str, Any]]:
        found = [*(self._status.get("initContainerStatuses") or []), *(self._status.get("containerStatuses") or [])]
        # No rollback would mend the guard: it stays as it is.
        return [c for c in found if not is_guard(c)]


async def pods_of(cluster: Reads, target: Target) -> tuple[Workload, Sequence[Pod]]:
    """The target's workload and every pod of its revisions, by name.

    Raises `ClusterError`s, `NotFound` when the workload is not there.
    """
    workload, _, pods = await _owned(cluster, target)
    return workload, pods


async def roster_of(cluster: Reads, target: Target) -> Roster:
    """The names that pods of the target have now, and had before. Raises as `pods_of`."""
    workload, replica_sets, pods = await _owned(cluster, target)
    live = {pod.name: pod.template for pod in pods}
    if workload.kind == Kind.STATEFUL_SET:
        return ownership.of_stateful_set(workload.name, live)
    if workload.kind == Kind.DAEMON_SET:
        return ownership.of_daemon_set(workload.name, live)
    return ownership.of_deployment(workload.name, replica_sets, live)


async def _owned(cluster: Reads, target: Target) -> tuple[Workload, Mapping[str, str], Sequence[Pod]]:
    """The workload, the templates of its ReplicaSets by their names, and its pods."""
    workload = Workload(await cluster.get(Kind(target.kind), target.namespace, target.deployment))
    # The selector only keeps the answer small; ownership decides.
    labels = ((workload.raw["spec"].get("selector") or {}).get("matchLabels") or {}).items()
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels))
    if workload.kind != Kind.DEPLOYMENT:
        return workload, {}, await _directly_owned(cluster, workload, selector)
    owned = [
        item
        for item in await cluster.list(Kind.REPLICA_SET, target.namespace, selector)
        if _owner(item) == workload.uid
    ]
    templates = {str(item["metadata"]["uid"]): template_hash(item["spec"]["template"]) for item in owned}
    named = {str(item["metadata"]["name"]): templates[str(item["metadata"]["uid"])] for item in owned}
    items = await cluster.list(Kind.POD, target.namespace, selector)
    found = [Pod(raw=item, template=templates[owner]) for item in items if (owner := _owner(item)) in templates]
    return workload, named, sorted(found, key=lambda pod: pod.name)


async def _directly_owned(cluster: Reads, workload: Workload, selector: str) -> Sequence[Pod]:
    """The pods of a StatefulSet or DaemonSet, which name their revision in a label."""
    revisions = revisions_of(workload, await cluster.list(Kind.CONTROLLER_REVISION, workload.namespace))
    templates = {revision.name: revision.hash for revision in revisions}
    items = await cluster.list(Kind.POD, workload.namespace, selector)
    found = [
        Pod(raw=item, template=templates.get((item["metadata"].get("labels") or {}).get(REVISION_LABEL, ""), ""))
        for item in items
        if _owner(item) == workload.uid
    ]
    return sorted(found, key=lambda pod: pod.name)


async def endpoints_of(cluster: Reads, target: Target) -> Sequence[Endpoint]:
    """The target's pods that run, are not terminating and have an address, by name; Ready or not.

    Raises `ClusterError`s, `NotFound` when the Deployment is not there.
    """
    _, pods = await pods_of(cluster, target)
    return [
        Endpoint(pod=pod.name, ip=pod.ip, template=pod.template, memory_limit=pod.memory_limit)
        for pod in pods
        if pod.counts and pod.phase == "Running" and pod.ip
    ]


def quantity(text: str) -> float | None:
    """A Kubernetes quantity (`256Mi`, `1G`, `500m`, `1e3`) as a number; None if it is not one."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    try:
        return float(Decimal(number + (exponent or "")) * _SCALES[suffix or ""])
    except (InvalidOperation, OverflowError):
        return None


def _owner(item: Mapping[str, Any]) -> str:
    """The uid of the object that controls `item`; empty if none does."""
    owners = item["metadata"].get("ownerReferences") or []
    return next((str(o.get("uid", "")) for o in owners if o.get("controller")), "")
