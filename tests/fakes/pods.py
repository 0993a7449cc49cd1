"""A cluster in memory whose Deployments have pods, whose autoscalers act, and in which more can be created."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from logcaster_guard.domain.errors import ClusterError, Conflict
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.workload import template_hash
from logcaster_guard.ports import Clock, Json, Kind
from logcaster_guard.sandbox.apiserver.jsontypes import cloned
from tests.fakes.cluster import NAMESPACE, FakeCluster


class PopulatedCluster(FakeCluster):
    """Every pod is Ready at once; what belongs to a Deployment goes with it.

    `late` may answer a write with an error after it had its effect. `on_write` is told every write of the guard as
    verb, kind, name, the object before it and the one after it (None where there is none).
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.late: Callable[[str, Kind, str], ClusterError | None] = lambda *_: None
        self.on_write: Callable[[str, Kind, str, Json | None, Json | None], None] = lambda *_: None

    def remove(self, kind: Kind, name: str) -> None:
        uid = self._objects.pop((kind, name))["metadata"]["uid"]
        for key, found in list(self._objects.items()):
            if key in self._objects and any(o["uid"] == uid for o in found["metadata"].get("ownerReferences") or []):
                self.remove(*key)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        self._refuse("list", kind, "")
        assert namespace == NAMESPACE
        items = self._pods() if kind is Kind.POD else [o for (k, _), o in self._objects.items() if k is kind]
        wanted = [tuple(part.split("=", 1)) for part in selector.split(",") if part]
        return [cloned(o) for o in items if all(_labels(o).get(k) == v for k, v in wanted)]

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        before = cloned(self._objects.get((kind, name)))
        await super().json_patch(kind, namespace, name, operations, manager=manager)
        return self._written("patch", kind, name, before)

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        name = body["metadata"]["name"]
        self._refuse("create", kind, name)
        assert namespace == NAMESPACE
        if (kind, name) in self._objects:
            raise Conflict(f"{kind} {name} exists already", status=409)
        made = {**cloned(body), "kind": str(kind), "status": {}}
        created = (self._clock.now() + timedelta(seconds=self.skew)).strftime("%Y-%m-%dT%H:%M:%SZ")
        identity = {"uid": self._next("uid"), "resourceVersion": self._next(""), "generation": 1}
        identity |= {"creationTimestamp": created}
        made["metadata"] = {"annotations": {}, **made["metadata"], **identity}
        self._objects[kind, name] = made
        if kind is Kind.DEPLOYMENT:
            self._roll_out(name)
        return self._written("create", kind, name, None)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        self._refuse("delete", kind, name)
        metadata = self._found(kind, namespace, name)["metadata"]
        if metadata["uid"] != uid or resource_version not in {None, metadata["resourceVersion"]}:
            raise Conflict(f"{kind} {name} is another one now", status=409)
        before = cloned(self._objects[kind, name])
        self.remove(kind, name)
        self._written("delete", kind, name, before)

    def _written(self, verb: str, kind: Kind, name: str, before: Json | None) -> Json:
        after = cloned(self._objects.get((kind, name)))
        self.on_write(verb, kind, name, before, after)
        error = self.late(verb, kind, name)
        if error is not None:
            raise error
        return after or {}

    def _changed(self, kind: Kind, name: str, before: Json) -> None:
        super()._changed(kind, name, before)
        for scaler in [o for (k, _), o in self._objects.items() if k is Kind.AUTOSCALER]:
            self._scale(scaler["spec"])

    def _scale(self, spec: Json) -> None:
        """What the autoscaler's controller does: nothing where somebody wants 0 pods."""
        name = spec["scaleTargetRef"]["name"]
        found = self._objects.get((Kind.DEPLOYMENT, name))
        size = 0 if found is None else found["spec"]["replicas"]
        wanted = max(spec["minReplicas"], min(size, spec["maxReplicas"]))
        if size and size != wanted:
            self.change(Kind.DEPLOYMENT, name, lambda d: d["spec"].update(replicas=wanted))

    def _pods(self) -> Sequence[Json]:
        return [
            pod
            for (kind, name), found in self._objects.items()
            if kind is Kind.DEPLOYMENT
            for pod in _pods_of(name, found)
        ]


def _labels(found: Json) -> dict[str, Any]:
    return found["metadata"].get("labels") or {}


def _pods_of(name: str, deployment: Json) -> list[Json]:
    spec = deployment["spec"]
    release = template_hash(spec["template"])[:8]
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    return [
        {
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-{release}-{i}",
                "namespace": NAMESPACE,
                "uid": f"pod-{name}-{release}-{i}",
                "labels": spec["template"]["metadata"]["labels"],
                "ownerReferences": [{"uid": deployment["metadata"]["uid"]}],
            },
            "status": ready,
        }
        for i in range(spec["replicas"])
    ]
