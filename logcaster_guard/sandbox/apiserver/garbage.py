"""The garbage collector and the namespace controller: what goes when its owner, or its namespace, goes."""

from __future__ import annotations

from functools import partial

from logcaster_guard.sandbox.apiserver.clock import Clock
from logcaster_guard.sandbox.apiserver.deletion import FOREGROUND, ORPHAN, DeleteOptions
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.objects import Objects
from logcaster_guard.sandbox.apiserver.owners import release
from logcaster_guard.sandbox.apiserver.resources import NAMESPACES, Resource
from logcaster_guard.sandbox.apiserver.store import Change, ChangeType, Store
from logcaster_guard.sandbox.apiserver.workqueue import WorkQueue


def _finalizers(item: Json) -> list[str]:
    return item["metadata"].get("finalizers") or []


def _drop_finalizer(metadata: Json, finalizer: str) -> None:
    metadata["finalizers"] = [f for f in metadata.get("finalizers") or [] if f != finalizer]
    if not metadata["finalizers"]:
        del metadata["finalizers"]


class GarbageCollector:
    """Reconciles one object, by UID, at a time."""

    def __init__(self, store: Store, objects: Objects, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self.queue: WorkQueue[str] = WorkQueue("garbage", self.reconcile, clock)

    def observe(self, change: Change) -> None:
        """Wake what a change concerns: the object, its owners, and when it is gone its dependents."""
        metadata = change.item["metadata"]
        owners = [o["uid"] for o in metadata.get("ownerReferences") or []]
        if change.type is ChangeType.DELETED:
            for uid in owners:
                self.queue.add(uid)
            for _, dependent in self._store.dependents(metadata["uid"]):
                self.queue.add(dependent["metadata"]["uid"])
        elif owners or "deletionTimestamp" in metadata:
            self.queue.add(metadata["uid"])

    def reconcile(self, uid: str) -> float | None:
        """Collect the object, or carry its deletion on to its dependents."""
        found = self._store.find(uid)
        if found is None:
            return None
        resource, item = found
        if "deletionTimestamp" in item["metadata"]:
            if ORPHAN in _finalizers(item):
                self._orphan(resource, item)
            elif FOREGROUND in _finalizers(item):
                self._foreground(resource, item)
            return None
        self._collect(resource, item)
        return None

    def _collect(self, resource: Resource, item: Json) -> None:
        """Delete an object whose owners are all gone or wait for it; let go of single owners that are gone."""
        owners = [o["uid"] for o in item["metadata"].get("ownerReferences") or []]
        present = [found for uid in owners if (found := self._store.find(uid)) is not None]
        solid = [o for _, o in present if not ("deletionTimestamp" in o["metadata"] and FOREGROUND in _finalizers(o))]
        metadata = item["metadata"]
        if not owners or len(solid) == len(owners):
            return
        if solid:
            kept = {o["metadata"]["uid"] for o in solid}
            for uid in owners:
                if uid not in kept:
                    self._objects.strip(resource, item, partial(release, uid=uid))
                    found = self._store.find(metadata["uid"])
                    if found is None:
                        return
                    item = found[1]
            return
        has_dependents = bool(self._store.dependents(metadata["uid"]))
        policy = "Foreground" if present and has_dependents else "Background"
        if ORPHAN in _finalizers(item):
            policy = "Orphan"
        elif FOREGROUND in _finalizers(item):
            policy = "Foreground"
        options = DeleteOptions(propagation=policy, uid=metadata["uid"])
        self._objects.delete(resource, str(metadata.get("namespace", "")), metadata["name"], options)

    def _foreground(self, resource: Resource, item: Json) -> None:
        """Dependents first: those that block are awaited, then the object goes."""
        uid = item["metadata"]["uid"]
        dependents = self._store.dependents(uid)
        for _, dependent in dependents:
            self.queue.add(dependent["metadata"]["uid"])
        blocking = [
            d
            for _, d in dependents
            if any(o["uid"] == uid and o.get("blockOwnerDeletion") for o in d["metadata"]["ownerReferences"])
        ]
        if not blocking:
            self._objects.strip(resource, item, partial(_drop_finalizer, finalizer=FOREGROUND))

    def _orphan(self, resource: Resource, item: Json) -> None:
        """Let the dependents go, then the object."""
        uid = item["metadata"]["uid"]
        for kind, dependent in self._store.dependents(uid):
            self._objects.strip(kind, dependent, partial(release, uid=uid))
        self._objects.strip(resource, item, partial(_drop_finalizer, finalizer=ORPHAN))


class NamespaceController:
    """Empties a namespace that is being deleted, then lets it go."""

    def __init__(self, store: Store, objects: Objects, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self.queue: WorkQueue[str] = WorkQueue("namespace", self.reconcile, clock)

    def observe(self, change: Change) -> None:
        """Wake a namespace that is being deleted, and when something of it has gone."""
        if change.resource is NAMESPACES:
            self.queue.add(change.item["metadata"]["name"])
        elif change.type is ChangeType.DELETED:
            self.queue.add(str(change.item["metadata"].get("namespace", "")))

    def reconcile(self, name: str) -> float | None:
        """Delete what the namespace holds; remove it once it is empty."""
        home = self._store.get(NAMESPACES, "", name)
        if home is None or "deletionTimestamp" not in home["metadata"]:
            return None
        for resource, item in self._store.contents(name):
            current = self._store.get(resource, name, item["metadata"]["name"])
            if current is not None and "deletionTimestamp" not in current["metadata"]:
                self._objects.delete(resource, name, item["metadata"]["name"], DeleteOptions(propagation="Background"))
        if not self._store.contents(name):
            self._store.remove(NAMESPACES, "", name)
        return None
