"""The controller of PodDisruptionBudgets: how many pods are healthy, how many must be, how many may be taken away.

The counts are those of Kubernetes' own controller (pkg/controller/disruption). Nothing evicts here, so no disruption
is ever under way.
"""

from __future__ import annotations

from collections.abc import Iterable

from logcaster_guard.sandbox.apiserver.clock import Clock, stamp
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.objects import Objects
from logcaster_guard.sandbox.apiserver.owners import controller_of
from logcaster_guard.sandbox.apiserver.recorder import CONTROLLER_MANAGER
from logcaster_guard.sandbox.apiserver.replicasets import ready_since
from logcaster_guard.sandbox.apiserver.resources import BUDGETS, DEPLOYMENTS, PODS, REPLICA_SETS
from logcaster_guard.sandbox.apiserver.selectors import selects
from logcaster_guard.sandbox.apiserver.store import Change, ChangeType, Key, Store, key_of
from logcaster_guard.sandbox.apiserver.validation import amount
from logcaster_guard.sandbox.apiserver.workqueue import WorkQueue


def covers(budget: Json, pod: Json) -> bool:
    """Whether a pod is the budget's: no selector selects none, an empty one all of the namespace."""
    selector = budget["spec"].get("selector")
    if selector is None:
        return False
    bare = not selector.get("matchLabels") and not selector.get("matchExpressions")
    return bare or selects(selector, pod["metadata"].get("labels") or {})


class DisruptionController:
    """Reconciles one PodDisruptionBudget at a time."""

    def __init__(self, store: Store, objects: Objects, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._clock = clock
        self.queue: WorkQueue[Key] = WorkQueue("disruption", self.reconcile, clock)

    def observe(self, change: Change) -> None:
        """Wake the budgets that a change of them, of pods or of a controller's size concerns."""
        if change.resource is BUDGETS:
            if change.type is not ChangeType.DELETED:
                self.queue.add(key_of(change.item))
        elif change.resource is PODS:
            for item in self._store.items(BUDGETS, change.item["metadata"]["namespace"]):
                if any(p is not None and covers(item, p) for p in (change.item, change.previous)):
                    self.queue.add(key_of(item))
        elif change.resource in {DEPLOYMENTS, REPLICA_SETS}:
            for item in self._store.items(BUDGETS, change.item["metadata"]["namespace"]):
                self.queue.add(key_of(item))

    def reconcile(self, key: Key) -> float | None:
        """Count the budget's pods and write what may be disrupted."""
        item = self._store.get(BUDGETS, *key)
        if item is None or "deletionTimestamp" in item["metadata"]:
            return None
        pods = [p for p in self._store.items(PODS, key[0]) if covers(item, p)]
        expected, desired = self._wanted(item["spec"], pods)
        healthy = sum(ready_since(p) is not None and "deletionTimestamp" not in p["metadata"] for p in pods)
        allowed = max(0, healthy - desired) if expected > 0 else 0
        old = item.get("status") or {}
        status = {
            "conditions": [self._condition(item, old, allowed)],
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": item["metadata"]["generation"],
        }
        self._objects.patch(
            BUDGETS, *key, lambda now: {**now, "status": status}, CONTROLLER_MANAGER, subresource="status"
        )
        return None

    def _wanted(self, spec: Json, pods: list[Json]) -> tuple[int, int]:
        """How many pods there should be, and how many of them must be healthy."""
        if "maxUnavailable" in spec:
            expected = self._sizes(pods)
            return expected, max(0, expected - amount(spec["maxUnavailable"], expected, up=True))
        least = spec.get("minAvailable")
        if isinstance(least, str):
            expected = self._sizes(pods)
            return expected, amount(least, expected, up=True)
        return (0, 0) if least is None else (len(pods), int(least))

    def _sizes(self, pods: Iterable[Json]) -> int:
        """The wanted sizes of the pods' controllers, each counted once; pods without one count nothing."""
        sizes: dict[str, int] = {}
        for pod in pods:
            found = self._owner(pod)
            above = self._owner(found) if found is not None else None
            scaled = above or found
            if scaled is not None:
                sizes[scaled["metadata"]["uid"]] = int(scaled["spec"]["replicas"])
        return sum(sizes.values())

    def _owner(self, item: Json) -> Json | None:
        """What controls the object, if it has a size."""
        reference = controller_of(item)
        found = self._store.find(reference["uid"]) if reference is not None else None
        return found[1] if found is not None and "replicas" in (found[1].get("spec") or {}) else None

    def _condition(self, item: Json, status: Json, allowed: int) -> Json:
        holds, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        before = next((c for c in status.get("conditions") or [] if c["type"] == "DisruptionAllowed"), None)
        same = before is not None and before["status"] == holds
        since = before["lastTransitionTime"] if before is not None and same else stamp(self._clock.now())
        return {
            "type": "DisruptionAllowed",
            "status": holds,
            "reason": reason,
            "message": "",
            "observedGeneration": item["metadata"]["generation"],
            "lastTransitionTime": since,
        }
