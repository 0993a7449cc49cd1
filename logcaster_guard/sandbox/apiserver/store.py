"""The objects, their versions and the history of changes. Stored objects are never changed in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from logcaster_guard.sandbox.apiserver.errors import expired
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.resources import Resource

Key = tuple[str, str]  # namespace ("" for cluster-wide resources), name


class ChangeType(StrEnum):
    """What a watch calls a change."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One write; `version` is its resourceVersion. `item` of a deletion is the last state under the new version."""

    version: int
    resource: Resource
    type: ChangeType
    item: Json
    previous: Json | None


def key_of(item: Json) -> Key:
    """Where an object lives."""
    metadata = item["metadata"]
    return (str(metadata.get("namespace", "")), str(metadata["name"]))


class Store:
    """Every object under (resource, namespace, name); each write takes the next resourceVersion.

    `history` changes are kept for watches; a watch from before them is told 410.
    """

    def __init__(self, history: int) -> None:
        self._history = history
        self._objects: dict[Resource, dict[str, dict[str, Json]]] = {}
        self._by_uid: dict[str, tuple[Resource, Key]] = {}
        self._dependents: dict[str, set[tuple[Resource, Key]]] = {}
        self._changes: list[Change] = []
        self._listeners: dict[object, Callable[[Change], None]] = {}
        self.version = 1

    def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object, not to be changed; None if there is none."""
        return self._objects.get(resource, {}).get(namespace, {}).get(name)

    def items(self, resource: Resource, namespace: str = "") -> list[Json]:
        """The objects of a namespace, or of all, in the order of their keys."""
        everywhere = self._objects.get(resource, {})
        places = [namespace] if namespace else sorted(everywhere)
        return [item for place in places for _, item in sorted(everywhere.get(place, {}).items())]

    def items_at(self, version: int, resource: Resource, namespace: str = "") -> list[Json]:
        """As `items` was at `version`; raises `ApiError` 410 if that is not known any more."""
        found = {key_of(item): item for item in self.items(resource, namespace)}
        for change in reversed(self.since(version)):
            key = key_of(change.item)
            if change.resource is resource and namespace in {"", key[0]}:
                found.pop(key, None)
                found |= {} if change.previous is None else {key: change.previous}
        return [item for _, item in sorted(found.items())]

    def find(self, uid: str) -> tuple[Resource, Json] | None:
        """The object of that UID."""
        where = self._by_uid.get(uid)
        return None if where is None else (where[0], self._at(*where))

    def dependents(self, uid: str) -> list[tuple[Resource, Json]]:
        """The objects that name `uid` among their owners."""
        places = sorted(self._dependents.get(uid, ()), key=lambda p: (p[0].plural, p[1]))
        return [(resource, self._at(resource, key)) for resource, key in places]

    def contents(self, namespace: str) -> list[tuple[Resource, Json]]:
        """Every object of a namespace."""
        return [(r, item) for r in list(self._objects) if r.namespaced for item in self.items(r, namespace)]

    def put(self, resource: Resource, item: Json) -> Json:
        """Keep `item` (owned by the store from here on) under the next resourceVersion."""
        key = key_of(item)
        namespace, name = key
        there = self._objects.setdefault(resource, {}).setdefault(namespace, {})
        previous = there.get(name)
        item["metadata"]["resourceVersion"] = str(self.version + 1)
        self._index(resource, key, previous, item)
        there[name] = item
        self._record(resource, ChangeType.ADDED if previous is None else ChangeType.MODIFIED, item, previous)
        return item

    def remove(self, resource: Resource, namespace: str, name: str) -> Json:
        """Forget the object; returns its last state under the version of its removal."""
        there = self._objects[resource][namespace]
        previous = there.pop(name)
        if not there:
            del self._objects[resource][namespace]
        self._index(resource, (namespace, name), previous, None)
        metadata = {**previous["metadata"], "resourceVersion": str(self.version + 1)}
        last = {**previous, "metadata": metadata}
        self._record(resource, ChangeType.DELETED, last, previous)
        return last

    def _at(self, resource: Resource, key: Key) -> Json:
        namespace, name = key
        return self._objects[resource][namespace][name]

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` with each later change; returns what ends that."""
        token = object()
        self._listeners[token] = listener
        return lambda: self._listeners.pop(token, None) and None

    def since(self, version: int) -> Sequence[Change]:
        """The changes after `version`, oldest first; raises `ApiError` 410 if they are no longer all kept."""
        oldest = self._changes[0].version if self._changes else self.version + 1
        if version < oldest - 1:
            raise expired(f"too old resource version: {version} ({oldest - 1})")
        return self._changes[version + 1 - oldest :]

    def _record(self, resource: Resource, kind: ChangeType, item: Json, previous: Json | None) -> None:
        self.version += 1
        change = Change(self.version, resource, kind, item, previous)
        self._changes.append(change)
        if len(self._changes) > 2 * self._history:
            del self._changes[: -self._history]
        for listener in list(self._listeners.values()):
            listener(change)

    def _index(self, resource: Resource, key: Key, previous: Json | None, item: Json | None) -> None:
        place = (resource, key)
        for owner in (previous or {"metadata": {}})["metadata"].get("ownerReferences") or []:
            self._dependents.get(owner["uid"], set()).discard(place)
            if not self._dependents.get(owner["uid"]):
                self._dependents.pop(owner["uid"], None)
        if previous is not None:
            self._by_uid.pop(previous["metadata"]["uid"], None)
        if item is not None:
            self._by_uid[item["metadata"]["uid"]] = place
            for owner in item["metadata"].get("ownerReferences") or []:
                self._dependents.setdefault(owner["uid"], set()).add(place)
