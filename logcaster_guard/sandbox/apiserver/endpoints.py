"""The EndpointSlice controller: which pods a Service sends traffic to, and in what condition they are."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from logcaster_guard.sandbox.apiserver.clock import Clock
from logcaster_guard.sandbox.apiserver.deletion import DeleteOptions
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.objects import Objects
from logcaster_guard.sandbox.apiserver.owners import owner_reference
from logcaster_guard.sandbox.apiserver.recorder import CONTROLLER_MANAGER
from logcaster_guard.sandbox.apiserver.replicasets import ready_since
from logcaster_guard.sandbox.apiserver.resources import ENDPOINT_SLICES, PODS, SERVICES
from logcaster_guard.sandbox.apiserver.store import Change, Key, Store, key_of
from logcaster_guard.sandbox.apiserver.workqueue import WorkQueue

SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_ME = "endpointslice-controller.k8s.io"
_HEADLESS = "service.kubernetes.io/headless"
_PER_SLICE = 100


def _matches(selector: Json, pod: Json) -> bool:
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def target_port(pod: Json, port: Json) -> int | None:
    """The number of the pod's port that a Service's port leads to; None if the pod has no port of that name."""
    wanted = port.get("targetPort", port["port"])
    if isinstance(wanted, int):
        return wanted
    for container in pod["spec"]["containers"]:
        for offered in container.get("ports") or []:
            if (offered.get("name"), offered.get("protocol", "TCP")) == (wanted, port["protocol"]):
                return int(offered["containerPort"])
    return None


def endpoint(pod: Json, *, publish_not_ready: bool) -> Json:
    """What a slice says of a pod."""
    metadata = pod["metadata"]
    terminating = "deletionTimestamp" in metadata
    serving = ready_since(pod) is not None
    found: Json = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": publish_not_ready or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    if pod["spec"].get("nodeName"):
        found["nodeName"] = pod["spec"]["nodeName"]
    return found


def _wanted(service: Json, pods: Iterable[Json]) -> list[Json]:
    """The slices' content: pods grouped by the port numbers that they offer, a hundred at most to a slice."""
    groups: dict[tuple[tuple[str, str, int], ...], list[Json]] = {}
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    for pod in pods:
        status = pod.get("status", {})
        if status.get("phase") in {"Failed", "Succeeded"} or not status.get("podIP"):
            continue
        resolved = [(p, target_port(pod, p)) for p in service["spec"].get("ports") or []]
        ports = tuple((str(p.get("name", "")), str(p["protocol"]), n) for p, n in resolved if n is not None)
        groups.setdefault(ports, []).append(endpoint(pod, publish_not_ready=publish))
    slices: list[Json] = []
    for ports, endpoints in sorted(groups.items()):
        told = [{"name": name, "protocol": protocol, "port": number} for name, protocol, number in ports]
        starts = range(0, len(endpoints), _PER_SLICE)
        slices += [{"ports": told, "endpoints": endpoints[start : start + _PER_SLICE]} for start in starts]
    return slices or [{"ports": None, "endpoints": None}]


def _with_content(item: Json, content: Json) -> Json:
    return {**item, **content}


class EndpointSliceController:
    """Reconciles the slices of one Service at a time."""

    def __init__(self, store: Store, objects: Objects, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self.queue: WorkQueue[Key] = WorkQueue("endpointslice", self.reconcile, clock)

    def observe(self, change: Change) -> None:
        """Wake the Services that a change concerns."""
        metadata = change.item["metadata"]
        if change.resource is SERVICES:
            self.queue.add(key_of(change.item))
        elif change.resource is ENDPOINT_SLICES and SERVICE_NAME in (metadata.get("labels") or {}):
            self.queue.add((metadata["namespace"], metadata["labels"][SERVICE_NAME]))
        elif change.resource is PODS:
            for service in self._store.items(SERVICES, metadata["namespace"]):
                selector = service["spec"].get("selector") or {}
                if any(p is not None and _matches(selector, p) for p in (change.item, change.previous)):
                    self.queue.add(key_of(service))

    def reconcile(self, key: Key) -> float | None:
        """Bring the Service's slices in line with its pods."""
        service = self._store.get(SERVICES, *key)
        if service is None or "deletionTimestamp" in service["metadata"] or not service["spec"].get("selector"):
            return None
        pods = [p for p in self._store.items(PODS, key[0]) if _matches(service["spec"]["selector"], p)]
        wanted = _wanted(service, sorted(pods, key=lambda p: str(p["metadata"]["creationTimestamp"])))
        present = [s for s in self._store.items(ENDPOINT_SLICES, key[0]) if self._is_mine(s, key[1])]
        for content in wanted:
            # A slice with the same ports is kept for them, so that a rollout changes it little by little.
            kept = next((s for s in present if s.get("ports") == content["ports"]), None) or (
                present[0] if present and len(present) >= len(wanted) else None
            )
            if kept is None:
                self._create(service, content)
            else:
                present.remove(kept)
                change = partial(_with_content, content=content)
                self._objects.patch(ENDPOINT_SLICES, *key_of(kept), change, CONTROLLER_MANAGER)
        for leftover in present:
            self._objects.delete(ENDPOINT_SLICES, *key_of(leftover), DeleteOptions())
        return None

    def _is_mine(self, item: Json, service: str) -> bool:
        labels = item["metadata"].get("labels") or {}
        return labels.get(SERVICE_NAME) == service and labels.get(_MANAGED_BY) == _ME

    def _create(self, service: Json, content: Json) -> None:
        metadata = service["metadata"]
        labels = {**(metadata.get("labels") or {}), SERVICE_NAME: metadata["name"], _MANAGED_BY: _ME}
        if service["spec"].get("clusterIP") == "None":
            labels[_HEADLESS] = ""
        body = {
            "metadata": {
                "generateName": f"{metadata['name']}-",
                "labels": labels,
                "ownerReferences": [owner_reference(service)],
            },
            "addressType": "IPv4",
            **content,
        }
        self._objects.create(ENDPOINT_SLICES, metadata["namespace"], body, CONTROLLER_MANAGER)
