"""Secrets in memory as an API server keeps them, and every way in which a request for one can go wrong."""

from __future__ import annotations

import base64
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from logcaster_guard.domain.errors import ClusterError, Conflict, NotFound, Rejected, Unavailable
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.ports import Json, Kind
from logcaster_guard.sandbox.apiserver.jsontypes import cloned

T = TypeVar("T")
LIMIT = 1024 * 1024


class Fate(StrEnum):
    """What becomes of a request."""

    WELL = "well"
    CUT_BEFORE = "cut before its effect"
    CUT_AFTER = "cut after its effect"
    LATE = "timed out, and arrives later"
    TWICE = "sent twice by the transport"
    FAILED = "500"
    BUSY = "503"
    FORBIDDEN = "403"
    STALE = "409, the object having changed"


class Secrets:
    """Implements `ports.Cluster` for Secrets.

    `fate` is asked, with the verb, about each request. What is late arrives after `lag` further requests were answered.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.fate: Callable[[str], Fate] = lambda _: Fate.WELL
        self.calls: Counter[str] = Counter()
        self.lag = 1
        self._on_the_way: list[tuple[int, Callable[[], object]]] = []
        self._requests = 0
        self._version = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        assert kind is Kind.SECRET
        found: Json = cloned(self._through("get", lambda: self._found(namespace, name)))
        return found

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        assert kind is Kind.SECRET
        wanted = dict(part.split("=") for part in selector.split(",")) if selector else {}
        return self._through("list", lambda: self._listed(namespace, wanted))

    def _listed(self, namespace: str, wanted: dict[str, str]) -> Sequence[Json]:
        found = (i for i in self.objects.values() if i["metadata"]["namespace"] == namespace)
        return [cloned(i) for i in found if wanted.items() <= (i["metadata"].get("labels") or {}).items()]

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        assert kind is Kind.SECRET
        name = str(body["metadata"]["name"])
        item = cloned(body)

        def effect() -> Json:
            if name in self.objects:
                raise Conflict(f"Secret {namespace}/{name} already exists", status=409)
            item["metadata"] |= {"uid": f"uid-{self._version}", "creationTimestamp": datetime.now(UTC).isoformat()}
            return self._put(name, cloned(item))

        return self._through("create", effect)

    async def json_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        operations: Sequence[Json],
        *,
        manager: str = MANAGER,  # noqa: ARG002 - the port's
    ) -> Json:
        assert kind is Kind.SECRET
        operations = cloned(list(operations))

        def effect() -> Json:
            item = cloned(self._found(namespace, name))
            for operation in operations:
                _operate(item, operation)
            if item.get("immutable") and item["data"] != self.objects[name]["data"]:
                raise Rejected("field is immutable when `immutable` is set", status=422)
            return cloned(item) if item == self.objects[name] else self._put(name, item)

        return self._through("patch", effect)

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        raise NotImplementedError

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        assert kind is Kind.SECRET

        def effect() -> None:
            metadata = self._found(namespace, name)["metadata"]
            if metadata["uid"] != uid or resource_version not in {None, metadata["resourceVersion"]}:
                raise Conflict("the precondition does not hold", status=409)
            del self.objects[name]

        self._through("delete", effect)

    def ahead(self) -> float:
        return 0.0

    async def aclose(self) -> None:
        pass

    def edit(self, name: str, change: Callable[[Json], None]) -> None:
        """Somebody else edits an object, whatever it forbids."""
        change(self.objects[name])
        self._put(name, self.objects[name])

    def arrive(self, *, everything: bool = False) -> None:
        """Let what is due take effect, or lose."""
        due = [effect for at, effect in self._on_the_way if everything or at <= self._requests]
        self._on_the_way = [late for late in self._on_the_way if late[1] not in due]
        for effect in due:
            with contextlib.suppress(ClusterError):
                effect()

    def _through(self, verb: str, effect: Callable[[], T]) -> T:
        self.calls[verb] += 1
        fate = self.fate(verb)
        if fate is Fate.LATE:
            self._on_the_way.append((self._requests + 1 + self.lag, effect))
            self._requests += 1
            raise Unavailable("the Kubernetes API did not answer within 10 s.")
        try:
            return _suffered(fate, effect)
        finally:
            self._requests += 1
            self.arrive()

    def _found(self, namespace: str, name: str) -> Json:
        item = self.objects.get(name)
        if item is None or item["metadata"]["namespace"] != namespace:
            raise NotFound(f"Secret {namespace}/{name} was not found", status=404)
        return item

    def _put(self, name: str, item: Json) -> Json:
        size = sum(len(base64.b64decode(v)) for v in (item.get("data") or {}).values())
        if size > LIMIT:
            raise Rejected(f"data: Too long: may not be more than {LIMIT} bytes", status=422)
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self.objects[name] = item
        copied: Json = cloned(item)
        return copied


def _suffered(fate: Fate, effect: Callable[[], T]) -> T:
    match fate:
        case Fate.CUT_BEFORE:
            raise Unavailable("the connection to the Kubernetes API broke before its answer was whole.")
        case Fate.CUT_AFTER:
            effect()
            raise Unavailable("the connection to the Kubernetes API broke before its answer was whole.")
        case Fate.TWICE:
            effect()
            return effect()
        case Fate.FAILED | Fate.BUSY:
            raise Unavailable(f"the Kubernetes API answered {fate}", status=int(fate))
        case Fate.FORBIDDEN:
            raise Rejected("the Kubernetes API answered 403", status=403)
        case Fate.STALE:
            raise Conflict("the object has been modified", status=409)
        case _:
            return effect()


def _operate(item: Json, operation: Json) -> None:
    *path, last = [p.replace("~1", "/").replace("~0", "~") for p in operation["path"].split("/")[1:]]
    if operation["path"] == "/metadata/resourceVersion":
        if item["metadata"]["resourceVersion"] != operation["value"]:
            raise Conflict("the object has been modified", status=409)
        return
    place = item
    for part in path:
        if part not in place:
            raise Rejected("the server rejected our request due to an error in our request", status=422)
        place = place[part]
    place[last] = operation["value"]
