"""The controller of HorizontalPodAutoscalers, as it behaves where nothing serves metrics.

Without metrics there is no recommendation, so a target within its bounds is left as it is; one outside is brought to
the nearer bound, and one scaled to 0 is left alone. So does Kubernetes' own controller (pkg/controller/podautoscaler).
"""

from __future__ import annotations

from logcaster_guard.sandbox.apiserver.clock import Clock, stamp
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.objects import Objects
from logcaster_guard.sandbox.apiserver.recorder import CONTROLLER_MANAGER, Recorder
from logcaster_guard.sandbox.apiserver.resources import AUTOSCALERS, DEPLOYMENTS, REPLICA_SETS, Resource
from logcaster_guard.sandbox.apiserver.store import Change, ChangeType, Key, Store, key_of
from logcaster_guard.sandbox.apiserver.workqueue import WorkQueue

# The real controller looks every 15 s; sooner here, but not at once: a client sees its own write first.
_DELAY = 0.5
_SCALABLE: dict[str, Resource] = {r.kind: r for r in (DEPLOYMENTS, REPLICA_SETS)}


def bounded(present: int, least: int, most: int) -> int:
    """The size that the bounds demand of a target of `present` replicas; 0 is never changed."""
    return 0 if present == 0 else max(min(present, most), least)


class AutoscalerController:
    """Reconciles one HorizontalPodAutoscaler at a time."""

    def __init__(self, store: Store, objects: Objects, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._clock = clock
        self._recorder = Recorder(objects, clock, "horizontal-pod-autoscaler")
        self.queue: WorkQueue[Key] = WorkQueue("autoscaler", self.reconcile, clock)

    def observe(self, change: Change) -> None:
        """Wake the autoscalers that a change of them or of their targets concerns."""
        if change.type is ChangeType.DELETED:
            return
        if change.resource is AUTOSCALERS:
            self.queue.add_after(key_of(change.item), _DELAY)
        elif change.resource in _SCALABLE.values():
            metadata = change.item["metadata"]
            for item in self._store.items(AUTOSCALERS, metadata["namespace"]):
                reference = item["spec"]["scaleTargetRef"]
                if (reference.get("kind"), reference["name"]) == (change.resource.kind, metadata["name"]):
                    self.queue.add_after(key_of(item), _DELAY)

    def reconcile(self, key: Key) -> float | None:
        """Bring the target within its bounds."""
        item = self._store.get(AUTOSCALERS, *key)
        if item is None or "deletionTimestamp" in item["metadata"]:
            return None
        reference = item["spec"]["scaleTargetRef"]
        resource = _SCALABLE.get(str(reference.get("kind")))
        target = None if resource is None else self._store.get(resource, key[0], reference["name"])
        if resource is None or target is None:
            message = f"the HPA controller was unable to get the target's current scale: {reference} not found"
            self._tell(item, [("AbleToScale", "False", "FailedGetScale", message)], {})
            return None
        present = int(target["spec"]["replicas"])
        wanted = bounded(present, int(item["spec"]["minReplicas"]), int(item["spec"]["maxReplicas"]))
        if wanted != present:
            self._resize(item, resource, target, wanted)
        elif present == 0:
            message = "scaling is disabled since the replica count of the target is zero"
            self._tell(item, [_FOUND, ("ScalingActive", "False", "ScalingDisabled", message)], {"desiredReplicas": 0})
        else:
            message = "the HPA was unable to compute the replica count: no metrics are served here"
            counts = {"currentReplicas": present}
            self._tell(item, [_FOUND, ("ScalingActive", "False", "FailedGetResourceMetric", message)], counts)
        return None

    def _resize(self, item: Json, resource: Resource, target: Json, wanted: int) -> None:
        present = int(target["spec"]["replicas"])

        def change(old: Json) -> Json:
            return {**old, "spec": {**old["spec"], "replicas": wanted}}

        self._objects.patch(resource, *key_of(target), change, CONTROLLER_MANAGER, subresource="scale")
        where = "below Spec.MinReplicas" if wanted > present else "above Spec.MaxReplicas"
        reason = f"Current number of replicas {where}"
        self._recorder.event(item, "SuccessfulRescale", f"New size: {wanted}; reason: {reason}")
        counts = {"currentReplicas": present, "desiredReplicas": wanted, "lastScaleTime": stamp(self._clock.now())}
        message = f"the HPA controller was able to update the target scale to {wanted}"
        self._tell(item, [("AbleToScale", "True", "SucceededRescale", message)], counts)

    def _tell(self, item: Json, told: list[tuple[str, str, str, str]], counts: Json) -> None:
        status = item.get("status") or {}
        conditions = {c["type"]: c for c in status.get("conditions") or []}
        for kind, holds, reason, message in told:
            before = conditions.get(kind)
            same = before is not None and before["status"] == holds
            since = before["lastTransitionTime"] if before is not None and same else stamp(self._clock.now())
            conditions[kind] = {
                "type": kind,
                "status": holds,
                "reason": reason,
                "message": message,
                "lastTransitionTime": since,
            }
        new = {"desiredReplicas": 0, **status, **counts, "conditions": list(conditions.values())}
        self._objects.patch(
            AUTOSCALERS,
            *key_of(item),
            lambda old: {**old, "status": new},
            CONTROLLER_MANAGER,
            subresource="status",
        )


_FOUND = ("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
