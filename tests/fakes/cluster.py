"""A cluster in memory: objects, preconditions, and a Deployment controller that rolls out at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from logcaster_guard.domain.errors import ClusterError, Conflict, NotFound, Unavailable
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.workload import REVISION, REVISION_HISTORY, restorable
from logcaster_guard.ports import Clock, Json, Kind
from logcaster_guard.sandbox.apiserver.jsontypes import cloned
from tests import canary

NAMESPACE = "default"
Fault = Callable[[str, Kind, str], ClusterError | None]


class FakeCluster:
    """Implements `ports.Cluster`.

    `fault` may answer a call (`get`, `list`, `patch`) with an error, before it has any effect. `writes` are the guard's
    patches that had one. Its clock is `skew` seconds ahead, which it tells
    or not (`told_skew`). With `stuck`, rollouts begin and never end. `on_rolled` is told the image of each rollout. All
    objects are in one `namespace`. Each of `on_change` is told what changed, and whether that was deleted. `listings`
    are the lists that were asked for with their version.
    """

    def __init__(self, clock: Clock, namespace: str = NAMESPACE) -> None:
        self._clock = clock
        self.namespace = namespace
        self._objects: dict[tuple[Kind, str], Json] = {}
        self._counter = 0
        self.fault: Fault = lambda *_: None
        self.writes: list[tuple[Kind, str, Sequence[Json]]] = []
        self.stuck = False
        self.listings: list[tuple[Kind, str]] = []
        self.remembered: dict[str, Sequence[Json]] = {}
        self.skew = 0.0
        self.told_skew = True
        self.on_rolled: Callable[[str, str], None] = lambda *_: None
        self.on_change: list[Callable[[Kind, Json, bool], None]] = []

    def remember(self) -> None:
        """Keep the state of now, so that it can be listed later."""
        self.remembered[self.version] = [cloned(o) for o in self._objects.values()]

    # What people and controllers do

    def add(self, kind: Kind, name: str, **body: Any) -> None:
        if kind is Kind.SECRET:
            canary.plays()
        metadata = {
            "name": name,
            "namespace": self.namespace,
            "uid": self._next("uid"),
            "resourceVersion": self._next(""),
            "annotations": {},
        }
        self._objects[kind, name] = {"kind": str(kind), "metadata": metadata, **cloned(body)}
        self._tell(kind, self._objects[kind, name])

    def add_deployment(self, name: str, image: str, *, replicas: int = 3) -> None:
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
        selector = {"matchLabels": {"app": name}}
        spec = {"replicas": replicas, "selector": selector, "template": template}
        self.add(Kind.DEPLOYMENT, name, spec=spec, status={})
        self._objects[Kind.DEPLOYMENT, name]["metadata"]["generation"] = 1
        self._roll_out(name)

    def object(self, kind: Kind, name: str) -> Json:
        return self._objects[kind, name]

    def change(self, kind: Kind, name: str, edit: Callable[[Json], None]) -> None:
        """Somebody edits an object."""
        before = cloned(self._objects[kind, name])
        edit(self._objects[kind, name])
        self._changed(kind, name, before)

    def roll(self, name: str, image: str) -> None:
        """Somebody rolls out an image."""
        self.change(Kind.DEPLOYMENT, name, lambda d: d["spec"]["template"]["spec"]["containers"][0].update(image=image))

    def restart(self, name: str, **annotations: str) -> None:
        """Somebody changes annotations of the pod template, and nothing else."""
        self.change(
            Kind.DEPLOYMENT,
            name,
            lambda d: d["spec"]["template"]["metadata"].setdefault("annotations", {}).update(annotations),
        )

    def annotate(self, name: str, **annotations: str | None) -> None:
        def edit(deployment: Json) -> None:
            for key, value in annotations.items():
                full = f"guard.logcaster.io/{key}"
                if value is None:
                    deployment["metadata"]["annotations"].pop(full, None)
                else:
                    deployment["metadata"]["annotations"][full] = value

        self.change(Kind.DEPLOYMENT, name, edit)

    @property
    def version(self) -> str:
        """The resourceVersion that the cluster has come to."""
        return str(self._counter)

    def names(self, kind: Kind) -> Sequence[str]:
        return [name for k, name in self._objects if k is kind]

    def finish(self) -> None:
        """Rollouts that were stuck come to their end."""
        for name in self.names(Kind.DEPLOYMENT):
            self._roll_out(name)
            self._objects[Kind.DEPLOYMENT, name]["metadata"]["resourceVersion"] = self._next("")

    def remove(self, kind: Kind, name: str) -> None:
        gone = self._objects.pop((kind, name))
        gone["metadata"]["resourceVersion"] = self._next("")
        self._tell(kind, gone, deleted=True)

    def image(self, name: str) -> str:
        return str(self._objects[Kind.DEPLOYMENT, name]["spec"]["template"]["spec"]["containers"][0]["image"])

    # The port

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        self._refuse("get", kind, name)
        found: Json = cloned(self._found(kind, namespace, name))
        return found

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        assert namespace == self.namespace
        self._refuse("list", kind, "")
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        listed = [o for (k, _), o in self._objects.items() if k is kind]
        return [cloned(o) for o in listed if wanted.items() <= (o["metadata"].get("labels") or {}).items()]

    async def listing(
        self, kind: Kind, namespace: str, name: str = "", *, selector: str = "", version: str = ""
    ) -> tuple[Sequence[Json], str]:
        """Implements `ports.Listings`; what it has not `remembered` is forgotten."""
        self.listings.append((kind, name))
        if version not in {"", self.version}:
            if version not in self.remembered:
                raise Unavailable("the resourceVersion is too old", status=410)
            return [item for item in self.remembered[version] if item["kind"] == kind], version
        items = await self.list(kind, namespace, selector)
        return [item for item in items if name in {"", item["metadata"]["name"]}], self.version

    async def json_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        operations: Sequence[Json],
        *,
        manager: str = MANAGER,  # noqa: ARG002 - the port's
    ) -> Json:
        self._refuse("patch", kind, name)
        present = self._found(kind, namespace, name)
        before, found = cloned(present), cloned(present)
        for operation in operations:
            self._operate(found, operation)
        present.clear()
        present.update(found)
        self.writes.append((kind, name, operations))
        if canary.in_play and kind is not Kind.SECRET:
            canary.note(f"{kind} {name}", json.dumps(operations))
        self._changed(kind, name, before)
        patched: Json = cloned(present)
        return patched

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        raise NotImplementedError

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        raise NotImplementedError

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        raise NotImplementedError

    def ahead(self) -> float:
        return self.skew if self.told_skew else 0.0

    async def aclose(self) -> None:
        pass

    # Inside

    def _refuse(self, verb: str, kind: Kind, name: str) -> None:
        error = self.fault(verb, kind, name)
        if error is not None:
            raise error

    def _found(self, kind: Kind, namespace: str, name: str) -> Json:
        if namespace != self.namespace or (kind, name) not in self._objects:
            raise NotFound(f"{kind} {namespace}/{name} was not found", status=404)
        return self._objects[kind, name]

    def _operate(self, found: Json, operation: Mapping[str, Any]) -> None:
        *path, last = [p.replace("~1", "/").replace("~0", "~") for p in operation["path"].split("/")[1:]]
        if operation["path"] == "/metadata/resourceVersion":
            if found["metadata"]["resourceVersion"] != operation["value"]:
                raise Conflict("the object has been modified", status=409)
            return
        place = found
        for part in path:
            place = place[part]
        if operation["op"] == "remove":
            del place[last]
        else:
            place[last] = cloned(operation["value"])

    def _changed(self, kind: Kind, name: str, before: Json) -> None:
        now = self._objects[kind, name]
        now["metadata"]["resourceVersion"] = self._next("")
        self._tell(kind, now)
        if kind is Kind.DEPLOYMENT and now["spec"] != before["spec"]:
            now["metadata"]["generation"] += 1
            self._roll_out(name)

    def _roll_out(self, name: str) -> None:
        deployment = self._objects[Kind.DEPLOYMENT, name]
        if deployment["spec"].get("paused"):
            return
        mine = [o for (k, _), o in self._objects.items() if k is Kind.REPLICA_SET and o["owner"] == name]
        newest = max((int(o["metadata"]["annotations"][REVISION]) for o in mine), default=0)
        wanted = restorable(deployment["spec"]["template"])
        found = next((o for o in mine if restorable(o["spec"]["template"]) == wanted), None)
        if found is None:
            self._make_replica_set(name, deployment, newest + 1)
        elif int(found["metadata"]["annotations"][REVISION]) != newest:
            notes = found["metadata"]["annotations"]
            earlier = [n for n in (notes.get(REVISION_HISTORY), notes[REVISION]) if n]
            notes |= {REVISION_HISTORY: ",".join(earlier), REVISION: str(newest + 1)}
        whole, replicas = not self.stuck, deployment["spec"]["replicas"]
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas if whole else 0,
            "availableReplicas": replicas,
        }
        self.on_rolled(name, self.image(name))

    def _make_replica_set(self, name: str, deployment: Json, number: int) -> None:
        replica_set = f"{name}-{number}"
        self.add(Kind.REPLICA_SET, replica_set, spec={"template": deployment["spec"]["template"]}, owner=name)
        self._objects[Kind.REPLICA_SET, replica_set]["metadata"] |= {
            "annotations": {REVISION: str(number)},
            "labels": dict(deployment["spec"]["template"]["metadata"]["labels"]),
            "creationTimestamp": (self._clock.now() + timedelta(seconds=self.skew)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "ownerReferences": [
                {"kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"], "controller": True}
            ],
        }

    def _tell(self, kind: Kind, item: Json, *, deleted: bool = False) -> None:
        for tell in self.on_change:
            tell(kind, cloned(item), deleted)

    def _next(self, prefix: str) -> str:
        self._counter += 1
        return f"{prefix}{self._counter}"
