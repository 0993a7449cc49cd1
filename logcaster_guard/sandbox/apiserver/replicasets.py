"""The ReplicaSet controller: as many pods as wanted, and a status that counts them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from logcaster_guard.sandbox.apiserver.clock import Clock, instant, stamp
from logcaster_guard.sandbox.apiserver.deletion import DeleteOptions
from logcaster_guard.sandbox.apiserver.errors import ApiError
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.objects import Objects
from logcaster_guard.sandbox.apiserver.owners import adopt, controller_of, owner_reference, release
from logcaster_guard.sandbox.apiserver.recorder import CONTROLLER_MANAGER, Recorder
from logcaster_guard.sandbox.apiserver.resources import PODS, REPLICA_SETS
from logcaster_guard.sandbox.apiserver.selectors import selects
from logcaster_guard.sandbox.apiserver.store import Change, ChangeType, Key, Store, key_of
from logcaster_guard.sandbox.apiserver.workqueue import WorkQueue

_BURST = 500
_LONG_AGO = datetime.fromtimestamp(0, UTC)
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_COST = "controller.kubernetes.io/pod-deletion-cost"


def is_ended(pod: Json) -> bool:
    """Whether none of its containers runs any more, for good."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def is_active(pod: Json) -> bool:
    """Neither ended nor on its way out."""
    return not is_ended(pod) and "deletionTimestamp" not in pod["metadata"]


def ready_since(pod: Json) -> datetime | None:
    """When the pod became Ready; None if it is not."""
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            return instant(condition.get("lastTransitionTime")) or _LONG_AGO
    return None


def _restarts(pod: Json) -> int:
    return max((int(c.get("restartCount", 0)) for c in pod.get("status", {}).get("containerStatuses") or []), default=0)


def _cost(pod: Json) -> int:
    text = str((pod["metadata"].get("annotations") or {}).get(_COST, "0"))
    return int(text) if text.lstrip("-").isdigit() else 0


def deletion_order(pods: list[Json], colocated: list[Json]) -> list[Json]:
    """Pods as a scale-down takes them: unassigned, pending, not ready, cheap, crowded, young ones first.

    `colocated` are the pods of every ReplicaSet of the same controller: a node that holds more of those that are
    Ready gives up its pods first.
    """
    crowd: dict[str, int] = {}
    for pod in colocated:
        if is_active(pod) and ready_since(pod) is not None:
            node = str(pod["spec"].get("nodeName", ""))
            crowd[node] = crowd.get(node, 0) + 1

    def rank(pod: Json) -> tuple[bool, int, bool, int, int]:
        node = str(pod["spec"].get("nodeName", ""))
        phase = _PHASES.get(str(pod.get("status", {}).get("phase")), 1)
        return (bool(node), phase, ready_since(pod) is not None, _cost(pod), -crowd.get(node, 0))

    def age(pod: Json) -> tuple[float, int, float]:
        ready, created = ready_since(pod), instant(pod["metadata"]["creationTimestamp"])
        return (
            -(ready.timestamp() if ready else 0.0),
            -_restarts(pod),
            -(created.timestamp() if created else 0.0),
        )

    return sorted(pods, key=lambda p: (rank(p), age(p)))


class ReplicaSetController:
    """Reconciles one ReplicaSet at a time."""

    def __init__(self, store: Store, objects: Objects, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._clock = clock
        self._recorder = Recorder(objects, clock, "replicaset-controller")
        self.queue: WorkQueue[Key] = WorkQueue("replicaset", self.reconcile, clock)

    def observe(self, change: Change) -> None:
        """Wake the ReplicaSets that a change concerns."""
        if change.resource is REPLICA_SETS and change.type is not ChangeType.DELETED:
            self.queue.add(key_of(change.item))
        if change.resource is not PODS:
            return
        for pod in (change.item, change.previous):
            owner = controller_of(pod) if pod is not None else None
            if owner is not None and owner["kind"] == "ReplicaSet":
                self.queue.add((change.item["metadata"]["namespace"], owner["name"]))
        if controller_of(change.item) is None:
            labels = change.item["metadata"].get("labels") or {}
            for item in self._store.items(REPLICA_SETS, change.item["metadata"]["namespace"]):
                if selects(item["spec"].get("selector"), labels):
                    self.queue.add(key_of(item))

    def reconcile(self, key: Key) -> float | None:
        """One step towards the wanted number of pods; returns seconds until a pod may have become available."""
        item = self._store.get(REPLICA_SETS, *key)
        if item is None:
            return None
        claimed = self._claimed(item)
        pods = [p for p in claimed if is_active(p)]
        leaving = sum("deletionTimestamp" in p["metadata"] and not is_ended(p) for p in claimed)
        failure: ApiError | None = None
        if "deletionTimestamp" not in item["metadata"]:
            try:
                self._size(item, pods)
            except ApiError as e:
                failure = e
        again = self._write_status(key, pods, leaving, failure)
        if failure is not None:
            raise failure
        return again

    def _claimed(self, item: Json) -> list[Json]:
        """The pods that the ReplicaSet controls, after adopting orphans and releasing those with other labels."""
        found = []
        uid, deleting = item["metadata"]["uid"], "deletionTimestamp" in item["metadata"]
        for pod in self._store.items(PODS, item["metadata"]["namespace"]):
            owner = controller_of(pod)
            matches = selects(item["spec"].get("selector"), pod["metadata"].get("labels") or {})
            if owner is not None and owner["uid"] == uid:
                if matches:
                    found.append(pod)
                elif not deleting:
                    self._objects.strip(PODS, pod, lambda m: release(m, uid))
            elif owner is None and matches and not deleting and is_active(pod):
                self._objects.strip(PODS, pod, lambda m: adopt(m, item))
                found.append(self._objects.get(PODS, *key_of(pod)))
        return found

    def _size(self, item: Json, pods: list[Json]) -> None:
        missing = int(item["spec"]["replicas"]) - len(pods)
        for _ in range(min(missing, _BURST)):
            self._create_pod(item)
        if missing < 0:
            for pod in deletion_order(pods, self._relatives(item))[: min(-missing, _BURST)]:
                self._objects.delete(PODS, *key_of(pod), DeleteOptions())
                self._recorder.event(item, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")

    def _create_pod(self, item: Json) -> None:
        template, name = item["spec"]["template"], item["metadata"]["name"]
        wanted = template.get("metadata") or {}
        metadata: Json = {"generateName": f"{name}-", "ownerReferences": [owner_reference(item)]}
        for field in ("labels", "annotations", "finalizers"):
            if wanted.get(field):
                metadata[field] = wanted[field]
        body = {"metadata": metadata, "spec": template["spec"]}
        pod = self._objects.create(PODS, item["metadata"]["namespace"], body, CONTROLLER_MANAGER)
        self._recorder.event(item, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    def _relatives(self, item: Json) -> list[Json]:
        owner = controller_of(item)
        siblings = (
            [item] if owner is None else [i for r, i in self._store.dependents(owner["uid"]) if r is REPLICA_SETS]
        )
        return [p for s in siblings for r, p in self._store.dependents(s["metadata"]["uid"]) if r is PODS]

    def _write_status(self, key: Key, pods: list[Json], leaving: int, failure: ApiError | None) -> float | None:
        """Count `pods`, which were active before this step, as the real controller does."""
        item = self._objects.get(REPLICA_SETS, *key)
        wanted_labels = ((item["spec"]["template"].get("metadata") or {}).get("labels") or {}).items()
        least = timedelta(seconds=int(item["spec"].get("minReadySeconds", 0)))
        since = [s for s in map(ready_since, pods) if s is not None]
        now = self._clock.now()
        available = sum(least == timedelta(0) or s + least <= now for s in since)
        counts = {
            "fullyLabeledReplicas": sum(wanted_labels <= (p["metadata"].get("labels") or {}).items() for p in pods),
            "readyReplicas": len(since),
            "availableReplicas": available,
            "observedGeneration": item["metadata"]["generation"],
        }
        status: Json = {"replicas": len(pods), "terminatingReplicas": leaving, **{k: v for k, v in counts.items() if v}}
        kept = item["status"].get("conditions") or []
        if failure is not None:
            kept = kept or [
                {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "reason": "FailedCreate" if len(pods) < item["spec"]["replicas"] else "FailedDelete",
                    "message": failure.message,
                    "lastTransitionTime": stamp(now),
                }
            ]
            status["conditions"] = kept
        self._objects.patch(
            REPLICA_SETS, *key, lambda old: {**old, "status": status}, CONTROLLER_MANAGER, subresource="status"
        )
        waits = [(s + least - now).total_seconds() for s in since if least and s + least > now]
        return min(waits, default=None)
